"""Drawn pictures with what there is to say about them, in English and in Japanese. Nothing is downloaded."""
import math
import random

from PIL import Image, ImageDraw

EDGE = 48  # pixels

# English singular, plural, Japanese, counter, how it is drawn
THINGS = [("ball", "balls", "ボール", "個"), ("cake", "cakes", "ケーキ", "個"), ("card", "cards", "カード", "枚"),
          ("flower", "flowers", "花", "本")]
COLORS = [("red", "赤", (220, 30, 40)), ("blue", "青", (40, 70, 220)), ("white", "白", (250, 250, 250)),
          ("black", "黒", (15, 15, 15)), ("yellow", "黄", (240, 215, 40)), ("green", "緑", (40, 160, 60))]
MAX_COUNT = 4

# Things of Japanese reading texts that are in no picture.
OTHER_THINGS = [("りんご", "個"), ("みかん", "個"), ("卵", "個"), ("クッキー", "枚"), ("本", "冊"), ("ノート", "冊"),
                ("鉛筆", "本"), ("コイン", "枚"), ("石", "個"), ("カップ", "個")]
ANIMALS = ["犬", "猫", "鳥", "うさぎ"]
NAMES = ["ケン", "ユキ", "太郎", "花子", "トム", "メアリー", "エミ", "ボブ"]
PLACES = ["公園", "学校", "駅", "店", "図書館", "庭", "家", "海"]
TIMES = ["朝", "昼", "夕方", "夜", "昨日", "今日"]


class Scene:
    """1 to 4 things of one kind and one colour."""

    def __init__(self, r):
        self.thing, self.color, self.count = r.choice(THINGS), r.choice(COLORS), r.randint(1, MAX_COUNT)

    def key(self):
        return self.thing[0], self.color[0], self.count


def draw(scene, r):
    """A picture of `scene` of EDGE x EDGE pixels, everything else about it at random."""
    grey = r.randint(100, 170)
    image = Image.new("RGB", (EDGE, EDGE), (grey + r.randint(-8, 8), grey + r.randint(-8, 8), grey + r.randint(-8, 8)))
    pen = ImageDraw.Draw(image)
    cells = r.sample([(x, y) for x in range(3) for y in range(3)], scene.count)
    color = tuple(min(255, max(0, c + r.randint(-12, 12))) for c in scene.color[2])
    for column, row in cells:
        size = r.uniform(5.0, 7.0)
        x, y = 8 + 16 * column + r.uniform(-1.5, 1.5), 8 + 16 * row + r.uniform(-1.5, 1.5)
        kind = scene.thing[0]
        if kind == "ball":
            pen.ellipse((x - size, y - size, x + size, y + size), fill=color)
        elif kind == "card":
            pen.rectangle((x - size, y - size * 0.7, x + size, y + size * 0.7), fill=color)
        elif kind == "cake":
            pen.polygon([(x, y - size), (x - size, y + size * 0.8), (x + size, y + size * 0.8)], fill=color)
        else:
            turn = r.uniform(0, math.pi)
            for petal in range(5):
                a = turn + petal * 2 * math.pi / 5
                px, py, radius = x + 0.62 * size * math.cos(a), y + 0.62 * size * math.sin(a), 0.34 * size
                pen.ellipse((px - radius, py - radius, px + radius, py + radius), fill=color)
    return image


def questions(scene):
    """[(name, English question, answer, Japanese question, answer)]"""
    one, many, ja, counter = scene.thing
    n = scene.count
    return [
        ("color", "What color %s the %s?" % (("is", one) if n == 1 else ("are", many)), scene.color[0],
         "%sは何色ですか。" % ja, scene.color[1] + "色"),
        ("count", "How many %s are there?" % many, "%d %s" % (n, one if n == 1 else many),
         "%sは何%sありますか。" % (ja, counter), "%d%s" % (n, counter)),
        ("thing", "What is there?", many, "何がありますか。", ja),
    ]


def english_answer(answer):
    return "The answer is %s." % answer


def japanese_answer(answer):
    return "答えは%sです。" % answer


def english_qa(scene, r):
    _, question, answer, _, _ = r.choice(questions(scene))
    return question, english_answer(answer)


def english_text(scene):
    one, many, _, _ = scene.thing
    return "There is a %s %s." % (scene.color[0], one) if scene.count == 1 else "There are %d %s %s." % (scene.count, scene.color[0], many)


def japanese_text(scene):
    return "%s色の%sが%d%sあります。" % (scene.color[1], scene.thing[2], scene.count, scene.thing[3])


def mixed_reading(r):
    """One or two sentences in either language and a question in either language, whose language the answer has."""
    scenes = [Scene(r)]
    if r.random() < 0.5:
        scenes.append(Scene(r))
        if scenes[0].thing == scenes[1].thing:
            scenes.pop()
    text = "".join(english_text(s) + " " if r.random() < 0.5 else japanese_text(s) for s in scenes)
    asked = questions(r.choice(scenes))
    _, english, answer_en, japanese, answer_ja = r.choice(asked[:2] if len(scenes) > 1 else asked)
    if r.random() < 0.5:
        return text + english, english_answer(answer_en)
    return text + japanese, japanese_answer(answer_ja)


def japanese_reading(r):
    """A Japanese text and a question about it: (question, answer). No picture."""
    facts, asked = [], []
    kinds = [(ja, counter) for _, _, ja, counter in THINGS] + OTHER_THINGS
    for ja, counter in r.sample(kinds, r.randint(1, 2)):
        color, n = r.choice(COLORS)[1], r.randint(1, 9)
        facts.append("%s色の%sが%d%sあります。" % (color, ja, n, counter))
        asked += [("%sは何色ですか。" % ja, color + "色"), ("%sは何%sありますか。" % (ja, counter), "%d%s" % (n, counter))]
    if len(facts) == 1:
        asked.append(("何がありますか。", ja))
    if r.random() < 0.4:
        animal, color = r.choice(ANIMALS), r.choice(COLORS)[1]
        facts.append("%s色の%sがいます。" % (color, animal))
        asked += [("%sは何色ですか。" % animal, color + "色"), ("何がいますか。", animal)]
    if r.random() < 0.4:
        name, time, place = r.choice(NAMES), r.choice(TIMES), r.choice(PLACES)
        facts.append("%sは%s%sへ行きました。" % (name, time, place))
        asked += [("%sはどこへ行きましたか。" % name, place), ("%sはいつ行きましたか。" % name, time)]
    r.shuffle(facts)
    question, answer = r.choice(asked)
    return "".join(facts) + question, japanese_answer(answer)
