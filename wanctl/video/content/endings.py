"""Endings of file names that settle whether a file is footage; all others are looked into."""

from pathlib import PurePosixPath
from typing import Literal


def _endings(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


# Candidates at once: whether there is a video in it is found out when it is scanned.
VIDEO_SUFFIXES = _endings(
    "264 265 266 360 3g2 3gp 3gp2 3gpp amv apng asf av1 avc avi avs2 avs3 bik bik2 bk2 braw cavs "
    "cine crm divx drc dv dvr-ms evo f4p f4v flc fli flv gif gxf h261 h263 h264 h265 h266 hevc "
    "insv ismv ivf ivr lrv m1v m2p m2t m2ts m2v m4v mj2 mjp mjpeg mjpg mk3d mkv mod mov mp2v mp4 "
    "mp4v mpe mpeg mpg mpv mpv2 mqv mts mtv mxf mxg nsv nut nuv obu ogm ogv ogx qt r3d rm rmvb roq "
    "rv smk swf tod tp trp ts ty usm vc1 vid vivo vob vro vvc webm wm wmv wtv xmv xvid y4m"
)
# Of these a text is no footage: TypeScript, Go modules, configuration.
TEXT_SUFFIXES = _endings("mod mts rm ts ty vid")

# Passed over without a look: other kinds of files that lie in folders of footage by the thousand.
OTHER_SUFFIXES = _endings(
    # texts, tables, code, pages
    "adoc bash bat bib c cc cfg cmd conf cpp cs css csv cue cxx diff doc docm docx eml env epub go "
    "h hpp htm html ics ini ipynb java js json json5 jsonc jsonl jsx key kt less lock log lua m3u "
    "m3u8 markdown md mobi mpd ndjson nfo odp ods odt pages patch pdf php pl pls properties ps1 py "
    "pyc pyi r rb rs rst rtf scala scss sh sql svelte svg swift tex toml tsv tsx txt url vcf vue "
    "webloc xhtml xls xlsm xlsx xml xmp xsd xspf yaml yml ppt pptx "
    # subtitles
    "ass dfxp idx lrc sbv smi srt ssa stl sub sup ttml vtt "
    # images
    "ai arw avif bmp cr2 cr3 cur dds dng dpx emf eps exr heic heif ico icns indd j2k jfif jls jp2 "
    "jpe jpeg jpg jpx jxl nef orf pbm pcx pef pgm pict png pnm ppm psb psd qoi raf raw rw2 sgi "
    "srw tga thm tif tiff wbmp webp wmf xbm xcf xpm "
    # sound
    "aac ac3 aif aifc aiff alac amr ape au caf dff dsf dts eac3 flac gsm m4a m4b m4p m4r mid midi "
    "mka mp2 mp3 mpc oga opus ra snd spx tak tta voc wav wave weba wma wv "
    # archives, images of discs, programs
    "7z apk app bz2 cab class deb dll dmg dylib exe gz iso jar lz lz4 lzma msi nrg o pkg rar rpm "
    "so tar tbz tgz txz war whl xz z zip zst "
    # data, weights, projects
    "aep arrow avro ckpt db dwg faiss feather fcpbundle gguf ggml h5 hdf5 index lmdb mat mdb "
    "msgpack npy npz onnx orc ort parquet pb pickle pkl pprj prproj pt pth ply obj fbx gltf glb "
    "blend safetensors sqlite sqlite3 tfevents tflite tfrecord torrent veg wsb "
    # fonts, signatures, remains of editors
    "asc ttf otf woff woff2 eot md5 sfv sha1 sha256 sig swp crc aria2 ds_store pek cfa ses sfk"
)


def file_name(source: str) -> str:
    """The last part of a path, or of a URL without its query."""
    return (source.partition("?")[0] if "://" in source else source).rpartition("/")[2]


def ending(name: str) -> str:
    """The ending of a file's name, in lower case with its dot; "" where there is none."""
    return PurePosixPath(name).suffix.lower()


def by_ending(name: str) -> Literal["video", "other", "unknown"]:
    """What a file's name says of it; `unknown` calls for a look at its first bytes."""
    suffix = ending(name)
    if suffix in VIDEO_SUFFIXES and suffix not in TEXT_SUFFIXES:
        return "video"
    return "other" if suffix in OTHER_SUFFIXES else "unknown"
