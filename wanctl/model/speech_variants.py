"""Models that let a person speak or sing."""

from dataclasses import replace

from wanctl.model.variants import DIT_14B, RUN_480P, SpeechShape, Variant

# The negative prompt of the official configuration (data, not our wording).
WAN_S2V_NEGATIVE_PROMPT = (
    "画面模糊，最差质量，画面模糊，细节模糊不清，情绪激动剧烈，手快速抖动，字幕，丑陋的，残缺的，多余的手指，"
    "画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，"
    "背景人很多，倒着走"
)

SPEECH_VARIANTS = (
    Variant(
        name="wan2.2-s2v-14b",
        dit=replace(DIT_14B, speech=SpeechShape()),
        defaults=replace(
            RUN_480P,
            steps=40,
            shift=3.0,
            guide_scale=4.5,
            frames=80,
            height=704,
            width=1024,
            negative_prompt=WAN_S2V_NEGATIVE_PROMPT,
        ),
        hub="Wan-AI/Wan2.2-S2V-14B",
        tasks=("s2v",),
    ),
)
