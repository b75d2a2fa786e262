"""A language model whose answers a test says."""

import json

from wanctl.vlm.chat import ChatAnswer

STYLE = "Documentary photography"
ENGLISH = (
    "The animal walks slowly from the left to the right, its paws pressing into the wet sand while "
    "small waves roll in behind it. Warm evening light lies on its fur and on the ripples of the "
    "water, and pale clouds drift above the horizon. Now and then it lifts its head, looks towards "
    "the sea and goes on. A medium shot at eye level, the camera pans left along with it and keeps "
    "it in the middle of the picture."
)
CHINESE = (
    "它慢慢地从左向右走，爪子踩进湿润的沙子里，身后有细小的波浪涌来。傍晚温暖的光线落在它的毛发和水面的波纹上，"
    "淡淡的云在地平线上方飘动。它不时抬起头，望向大海，然后继续向前。中景，平视角度，镜头随着它缓缓向左移动，"
    "始终让它处于画面中央，远处的山影在薄雾中若隐若现。"
)


def answer(summary, detail=ENGLISH, style=STYLE):
    """JSON text of a rewritten prompt."""
    return json.dumps({"style": style, "summary": summary, "detail": detail}, ensure_ascii=False)


class ScriptedModel:
    """Answers by a function of the request; counts what it is asked."""

    name, parallel, batch = "scripted", 2, 2

    def __init__(self, reply):
        self.reply = reply
        self.requests = []
        self.closed = 0

    def check(self):
        pass

    def ask(self, requests):
        self.requests += requests
        found = [self.reply(each) for each in requests]
        return [
            each if isinstance(each, ChatAnswer) else ChatAnswer(request.id, each, "stop")
            for request, each in zip(requests, found, strict=True)
        ]

    def close(self):
        self.closed += 1
