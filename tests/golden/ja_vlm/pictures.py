"""Drawn pictures with what there is to say about them, in English and in Japanese. Nothing is downloaded."""
import math
import random

from PIL import Image, ImageDraw

CELL = 16       # pixels
GRID = 3        # cells in a row
EDGE = CELL * GRID

# English singular, plural, Japanese, counter
THINGS = [("ball", "balls", "ボール", "個"), ("cake", "cakes", "ケーキ", "個"), ("card", "cards", "カード", "枚"),
          ("flower", "flowers", "花", "本")]
UNSEEN = [("apple", "apples", "りんご", "個"), ("egg", "eggs", "卵", "個"), ("book", "books", "本", "冊"), ("cup", "cups", "カップ", "個"),
          ("pencil", "pencils", "鉛筆", "本"), ("coin", "coins", "コイン", "枚")]  # in texts only
COLORS = [("red", "赤", (220, 30, 40)), ("blue", "青", (40, 70, 220)), ("white", "白", (250, 250, 250)),
          ("black", "黒", (15, 15, 15)), ("yellow", "黄", (240, 215, 40)), ("green", "緑", (40, 160, 60))]
MAX_COUNT = 4
IN_JAPANESE = 0.25  # the share of Japanese questions that the base, whose first language is English, sees answered in Japanese

# What a tokenizer must not split: the words of everything below.
WORDS = ["Q", ":", "A", "The", "There", "What", "How", " answer", " is", " are", " a", " many", " color", " the", " there", ".", "?", "。",
         "\n", " ", "答え", "は", "です", "が", "の", "何", "色", "ありますか", "あります"] + [str(i) for i in range(10)] + \
        [w for one, many, ja, counter in THINGS + UNSEEN for w in (" " + one, " " + many, ja, counter)] + \
        [w for en, ja, _ in COLORS for w in (" " + en, ja)]


class Scene:
    """1 to `most` things of one kind and one colour."""

    def __init__(self, r, things=THINGS, most=MAX_COUNT):
        self.thing, self.color, self.count = r.choice(things), r.choice(COLORS), r.randint(1, most)
        self.cells = r.sample(range(GRID * GRID), min(self.count, GRID * GRID))


def draw(scene, r):
    """A picture of `scene` of EDGE x EDGE pixels, everything else about it at random."""
    grey = r.randint(100, 170)
    image = Image.new("RGB", (EDGE, EDGE), tuple(grey + r.randint(-8, 8) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    color = tuple(min(255, max(0, c + r.randint(-12, 12))) for c in scene.color[2])
    for cell in scene.cells:
        size = r.uniform(5.0, 7.0)
        x, y = CELL * (cell % GRID + 0.5) + r.uniform(-1.5, 1.5), CELL * (cell // GRID + 0.5) + r.uniform(-1.5, 1.5)
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


KINDS = ("color", "count", "thing")


def questions(scene):
    """[(kind, English question, answer, Japanese question, answer)]"""
    one, many, ja, counter = scene.thing
    n = scene.count
    return [
        ("color", "What color are the %s?" % many, scene.color[0], "%sは何色ですか。" % ja, scene.color[1] + "色"),
        ("count", "How many %s are there?" % many, "%d %s" % (n, one if n == 1 else many), "%sは何%sありますか。" % (ja, counter),
         "%d%s" % (n, counter)),
        ("thing", "What is there?", many, "何がありますか。", ja),
    ]


def english_answer(answer):
    return "The answer is %s." % answer


def japanese_answer(answer):
    return "答えは%sです。" % answer


def english_text(scene):
    one, many, _, _ = scene.thing
    return "There is a %s %s." % (scene.color[0], one) if scene.count == 1 else "There are %d %s %s." % (scene.count, scene.color[0], many)


def japanese_text(scene):
    return "%s色の%sが%d%sあります。" % (scene.color[1], scene.thing[2], scene.count, scene.thing[3])


def cells_text(scene, japanese):
    """What is in each cell of the picture, row by row, as words."""
    word = scene.color[1] + scene.thing[2] if japanese else " %s %s" % (scene.color[0], scene.thing[0])
    return "".join(word if cell in scene.cells else "." for cell in range(GRID * GRID))


def english_qa(scene, r, captions):
    """(what comes after the picture, answer): a question, or nothing where a share of `captions` tells what there is."""
    if r.random() < captions:
        return "", english_text(scene)
    _, question, answer, _, _ = r.choice(questions(scene))
    return question + "\n", english_answer(answer)


def text_scenes(r):
    scenes = [Scene(r, THINGS + UNSEEN, 9)]
    if r.random() < 0.5:
        scenes.append(Scene(r, THINGS + UNSEEN, 9))
        if scenes[0].thing == scenes[1].thing:
            scenes.pop()
    return scenes


def bilingual_reading(r):
    """What the base learns: (prompt, answer). A text in either language or both (sentences, or what is in each cell of a grid) and a
    question in either, mostly answered in English; or the text told again."""
    if r.random() < 0.35:
        scene = Scene(r, THINGS + UNSEEN)
        text, asked = cells_text(scene, r.random() < 0.5), questions(scene)
    else:
        scenes = text_scenes(r)
        text = "".join(english_text(s) if r.random() < 0.5 else japanese_text(s) for s in scenes)
        if r.random() < 0.2 and len(scenes) == 1:
            return "Q: " + text + "\nA:\n", english_text(scenes[0]) if r.random() < 0.5 else japanese_text(scenes[0])
        asked = questions(r.choice(scenes))[:2 if len(scenes) > 1 else 3]
    _, english, answer_en, japanese, answer_ja = r.choice(asked)
    in_japanese = r.random() < 0.5
    return "Q: %s\n%s\nA:\n" % (text, japanese if in_japanese else english), \
        japanese_answer(answer_ja) if in_japanese and r.random() < IN_JAPANESE else english_answer(answer_en)


def japanese_reading(r):
    """What `ja` learns: a Japanese text with a question, and the Japanese sentence that answers it."""
    scenes = text_scenes(r)
    asked = questions(r.choice(scenes))
    _, _, _, question, answer = r.choice(asked[:2] if len(scenes) > 1 else asked)
    return "Q: " + "".join(japanese_text(s) for s in scenes) + "\n" + question + "\nA:\n", japanese_answer(answer)
