"""Checks of the words alone: refusals, openers, cut-off ends, guesses, repeated prompts, markup."""

import re

from wanctl.caption.checks.facts import Finding
from wanctl.caption.checks.language import tokens, variant_of, without_quotes

# A refusal comes first; the strong phrases are one anywhere.
_REFUSAL_WITHIN = 160
_REFUSAL = re.compile(
    r"\bi(?:['’]?m| am) (?:sorry|afraid|unable|not able)\b|^sorry\b|^unfortunately\b"
    r"|^(?:i|my|we|our)? ?(?:sincere )?apolog(?:ies|i[sz]e)\b|\b(?:accessible|available) to me\b"
    r"|\b(?:not|im)[ ]?possible for me to\b|\bcould you (?:please )?(?:provide|share|upload)\b"
    r"|\b(?:cannot|can['’]?t|unable to|not able to) (?:view|watch|see|access|process|open|play) "
    r"(?:the |this |that |any )?(?:media|videos?|images?|frames?|clips?|content|files?)\b"
    r"|\bi (?:cannot|can['’]?t|can not|could not|couldn['’]?t|do not|don['’]?t|won['’]?t) "
    r"(?:\w+ )?(?:see|view|watch|help|assist|provide|determine|identify|describe|access|tell|have"
    r"|comply|fulfil|process|analy[sz]e|create|generate|answer|confirm|make out)\b"
    r"|^(?:i (?:cannot|can['’]?t|can not)\b)"
    r"|\bunable to (?:view|see|access|provide|determine|identify|assist|describe|analy[sz]e|watch"
    r"|process|comply|fulfil|generate|answer)\b"
    r"|\bno (?:video|image|frame|clip)s? (?:was|were|is|has been|have been) (?:provided|attached|"
    r"uploaded|shared)\b|\bplease (?:provide|upload|share|attach)\b|\bnot able to (?:view|see|help)"
    r"|没有(?:看到|收到)(?:任何)?(?:视频|图片|画面)|我看不到|(?:没有|未)提供(?:任何)?(?:视频"
    r"|图片|画面)"
    r"|抱歉|对不起，?我|请(?:您)?(?:提供|上传)|很遗憾"
    r"|(?:^|[，。！？ ]|我|暂时|目前)(?:无法|不能)(?:为您|帮您|直接|进行|对视频)?(?:提供|识别"
    r"|确定|判断"
    r"|查看|描述|协助"
    r"|观看|回答|生成|处理|分析)",
    re.IGNORECASE,
)
_STRONG_REFUSAL = re.compile(
    r"\b(?:as|i am|i['’]m)(?: just| only)? an? (?:ai|artificial intelligence|language model"
    r"|assistant)\b|\bi (?:cannot|can['’]?t) "
    r"(?:assist|help) with\b|作为(?:一个|一名|一款)?(?:ai|人工智能|语言模型|智能助手)",
    re.IGNORECASE,
)

_FOOTAGE = r"(?:video|clip|footage|scene|shot|image|picture|frame|sequence|film|animation)s?"
_ABOUT = (
    r"(?:this|the|these)(?: (?:short|brief|given|provided|entire|whole|following|attached|input|"
    r"present|first|next|uploaded))* (?:video|clip|footage|recording|frame|image)s?"
    r"(?: clip| sequence| footage)?"
)
_OPENER = re.compile(
    rf"^(?:(?:so|okay|well|here)[,:]? )?(?:"
    rf"(?:in|throughout|from) (?:this|the|these) (?:short |brief )?(?:video )?{_FOOTAGE}"
    r"(?:,| we| you| there| a| an| the| two| three)(?= |,)"
    rf"|(?:this|the|these) (?:[a-z-]+ ){{0,2}}?(?:video )?{_FOOTAGE} (?:\w+ly )?"
    r"(?:shows?|depicts?|features?|captures?|displays?|presents?|illustrates?|showcases?|portrays?"
    r"|opens? with|begins? with|starts? with|is (?:of|about|a)|contains?|consists? of|focuses on"
    r"|appears? to (?:be|show))\b"
    rf"|(?:this is|here is|here['’]s|it is) (?:an? |the )?(?:[a-z-]+ ){{0,2}}?{_FOOTAGE} "
    r"(?:of|showing|depicting|in which|where)\b"
    # no other noun follows: "the video camera", "the image sensor"
    rf"|(?:(?:in|throughout|from|within|across|over) )?{_ABOUT}(?:,| (?:is|are|was|has|we|you"
    rf"|opens?|"
    r"starts?|begins?|moves?|takes?|portrays?|conveys?|documents?|follows?|gives?|offers?|reveals?|"
    r"highlights?|includes?|introduces?|provides?|zooms?|then|first|ends?))"
    r"|what (?:we|you|one|viewers) (?:can )?(?:see|observe|watch)"
    r"|(?:shown|seen|depicted|captured|pictured|displayed|featured) (?:here|in (?:this|the) "
    r"(?:video|clip|footage|frame|image|scene))"
    r"|(?:the camera|it) (?:captures|shows|records|films) (?:an? |the )?(?:video|clip|footage)"
    r"|(?:here,? )?(?:we|you|one|viewers?|the viewers?) (?:can |could )?(?:see|observe|watch"
    r"|notice)"
    rf"|(?:an? )?(?:video|clip|footage|image)s? (?:of|showing|depicting)\b)",
    re.IGNORECASE,
)
_OPENER_ZH = re.compile(
    r"^(?:我们|观众|您|你)?(?:可以|能够?|能)?(?:看到|看见)|^(?:如)?图(?:中|片中"
    r"|里)(?:所示)?(?:，|,|展示|显示|可以)"
    r"|^(?:在)?(?:这|该|本|此|整)?(?:是)?(?:一)?(?:个|段|部|幅|张|组|则)?(?:短)?"
    r"(?:视频|影片|片段|短片|录像|图片|图像|画面|镜头(?!上))"
    r"(?:(?:里|中|内|上)(?!央|心|间|景|部)(?:，|,)?|(?:主要)?(?:展示|显示|呈现|描绘|描述|展现"
    r"|记录|拍摄了|讲述|捕捉|"
    r"聚焦)|是(?:一|关于)|开始时)"
)

_ENDS = tuple(".!?…。！？\"'”’)）」』》")
_DANGLING = re.compile(
    r"(?:,|;|:|，|、|；|：|-|—|\b(?:and|or|the|a|an|of|with|in|on|at|to|while|as|his|her|its"
    r"|their|is|"
    r"are))$",
    re.IGNORECASE,
)

_UNKNOWN = re.compile(
    r"\b(?:it is|it['’]s|is|are|remains?) (?:unclear|unknown|uncertain|not (?:entirely |fully "
    r")?(?:clear|specified|visible|known|"
    r"discernible|possible to))\b|\b(?:cannot|can['’]t|could not) be (?:determined|identified|seen|"
    r"discerned|made out)\b|\bnot (?:specified|mentioned|provided) in\b|\b(?:hard|difficult"
    r"|impossible) to (?:tell|say|determine|discern|identify|make out|know)\b|\bn/a\b|\bno "
    r"information\b"
    r"|(?:无法|难以|很难)(?:确定|判断|辨认|辨别|看清|得知|分辨)|(?:地点|时间|身份"
    r"|原因)(?:不明|未知)|看不清楚?是|(?:尚)?不(?:清楚|明确|确定)|未(?:提及|说明)|没有提供",
    re.IGNORECASE,
)
_GUESS = re.compile(
    r"\b(?:possibly|perhaps|probably|presumably|maybe|likely|apparently|supposedly|might be|may be|"
    r"could be|must be|suggest(?:s|ing) that|impl(?:ies|ying) that|indicat(?:es|ing) that|"
    r"(?:appears?|seems?) to be|i (?:think|believe|guess))\b"
    r"|可能|似乎|或许|也许|大概|推测|看起来像是|应该是",
    re.IGNORECASE,
)
_MAX_GUESSES = 2

_ECHO = re.compile(
    r"\b(?:here(?: is|['’]s) (?:the|a|your|my) (?:\w+ ){0,3}(?:caption|description|summary"
    r"|version|text)"
    r"|(?:sure|certainly|of course|absolutely)[,!:]|as (?:requested|instructed)"
    r"|(?:based on|according to|as per|per|given) (?:the|this|your|these) "
    r"(?:\w+ ){0,2}(?:structure|json|"
    r"metadata|hints?|measurements?|prompt|instructions?|schema|provided|fields?|structured)"
    r"|(?:following|using) (?:the|your) (?:instructions?|prompt|schema|json|hints?)|measured:"
    r"|word count|\d+ words?\b|(?:long|medium|short)[- ](?:formal|informal|poetic)"
    r"|(?:formal|informal|poetic) (?:caption|version|variant)"
    r"|(?:long|medium|short) (?:caption|version|variant|description)"
    r"|do not (?:begin|start|mention)|say only what)"
    r"|^(?:the )?(?:[a-z]+[ -]){0,3}(?:caption|description|title|summary|answer|output|text"
    r"|version)"
    r"(?: ?\([^)]*\))?\s*:|\b(?:caption|description|text)s? (?:that )?you (?:asked|requested"
    r"|wanted)"
    r"|^(?:below|above|following) is\b"
    r"|\b[a-z]+_(?:id|angle|motion|category|color|counting|text)\b"
    r"|^(?:好的|当然)[，,：:！!]|^(?:以下|下面|这)(?:是|为)(?:一段|对|关于|该|视频|短"
    r"|长)*(?:描述|说明|字幕|标题)|^(?:以下|下面)(?:是|为)|^按照?(?:您的|你的)?(?:要求|指示|说明)"
    r"|根据(?:您|你)?(?:所)?(?:提供|给定|给出|上述|以上|所给|结构|输入)"
    r"|(?:正式|非正式|诗意|长|中等|短)(?:风格的?)?(?:版本?|描述|字幕|标题)|^(?:描述|标题|答案"
    r"|文本|字幕)[：:]|字数|JSON",
    re.IGNORECASE,
)

_MARKUP = re.compile(
    r"```|`[^`]+`|\*\*[^*]+\*\*|__[^_]+__|^\s*#{1,6} |^\s*(?:[-*•]|\d+[.)]) |</?[a-z][^<>]{0,40}>"
    r"|<\|[^|]*\|>|\[/?INST\]|\\n|\\u[0-9a-f]{4}|&(?:[a-z]{2,6}|#\d+);|^-{3,}$|[{}]|\"\s*:\s*[\"\[]"
    r"|^\s*\[|\]\s*$|\ufffd",
    re.IGNORECASE | re.MULTILINE,
)


def check_refusal(text: str) -> list[Finding]:
    """A finding where the model declines instead of describing."""
    plain = without_quotes(text)
    found = _REFUSAL.search(plain[:_REFUSAL_WITHIN]) or _STRONG_REFUSAL.search(plain)
    if not found:
        return []
    return [Finding("refusal", f"do not decline ({_shown(found)}); describe what can be seen")]


def check_opener(text: str) -> list[Finding]:
    """A finding where the caption speaks of the video before it speaks of its content."""
    found = _OPENER.match(text) or _OPENER_ZH.match(text)
    if not found:
        return []
    return [Finding("opener", f"do not begin with {_shown(found)}; begin with the content itself")]


def check_end(text: str) -> list[Finding]:
    """A finding where the text stops inside a sentence.

    A text without any sentence end is one phrase and complete, unless its last word cannot be one.
    """
    end = text.rstrip()
    if end.endswith(_ENDS) or not end:
        return []
    if _DANGLING.search(end) or re.search(r"[.!?。！？]", end[:-1]):
        return [Finding("truncation", "the caption stops inside a sentence; finish it")]
    return []


def check_guesses(text: str, variant: str) -> list[Finding]:
    """A finding on statements of ignorance, and on many guesses, which poetry may make."""
    plain = without_quotes(text)
    if found := _UNKNOWN.search(plain):
        reason = f"leave out what cannot be seen instead of saying so ({_shown(found)})"
        return [Finding("speculation", reason)]
    guesses = list(_GUESS.finditer(plain))
    most = 1 if len(tokens(plain)) < 40 else _MAX_GUESSES
    requested = variant_of(variant)
    if (requested and requested.style == "poetic") or len(guesses) < most:
        return []
    some = ", ".join(_shown(each) for each in guesses[:3])
    return [Finding("speculation", f"state what is seen without guesses ({some})")]


def check_echo(text: str) -> list[Finding]:
    """A finding where the caption repeats words of the request."""
    found = _ECHO.search(without_quotes(text))
    if not found:
        return []
    return [Finding("echo", f"write the caption alone, without {_shown(found)}")]


def check_markup(text: str) -> list[Finding]:
    """A finding on JSON, Markdown, tags and escapes."""
    found = _MARKUP.search(text)
    return [Finding("markup", f"plain text without markup ({_shown(found)})")] if found else []


def _shown(found: re.Match[str]) -> str:
    return repr(" ".join(found.group().split())[:40])
