
"use strict";
const videos = [...document.querySelectorAll("video")];
const seen = new Set();
let playing = false;
// Files are read when they come into view: a long run has thousands.
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const video = entry.target;
    if (entry.isIntersecting) {
      seen.add(video);
      if (!video.src) video.src = video.dataset.src;
      if (playing) video.play();
    } else {
      seen.delete(video);
      video.pause();
    }
  }
}, { rootMargin: "200px" });
videos.forEach((video) => observer.observe(video));
document.getElementById("play").addEventListener("click", (event) => {
  playing = !playing;
  event.target.textContent = playing ? "Pause" : "Play all";
  for (const video of seen) {
    if (playing) { video.currentTime = 0; video.play(); } else video.pause();
  }
});
