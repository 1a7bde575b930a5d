"""The words of the demo catalog, each in English and Chinese. Kinds, colours and patterns are those of the drawings."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[str, str]  # English, Chinese


@dataclass(frozen=True)
class KindWords:
    """What a kind of product is called (three names for one drawing), where it is sold, and about its price."""

    product_type: str
    price: int
    nouns: tuple[Pair, Pair, Pair]


KIND_WORDS: dict[str, KindWords] = {
    "dress": KindWords(
        "Clothing > Dresses", 60, (("dress", "连衣裙"), ("summer dress", "夏季连衣裙"), ("midi dress", "中长款连衣裙"))
    ),
    "shirt": KindWords(
        "Clothing > Shirts",
        35,
        (("shirt", "衬衫"), ("short-sleeved shirt", "短袖衬衫"), ("button-up shirt", "翻领衬衫")),
    ),
    "trousers": KindWords(
        "Clothing > Trousers", 50, (("trousers", "裤子"), ("long trousers", "长裤子"), ("casual trousers", "休闲裤子"))
    ),
    "shoe": KindWords(
        "Clothing > Shoes", 75, (("sneaker shoes", "运动鞋"), ("canvas shoes", "帆布鞋"), ("high-top shoes", "高帮鞋"))
    ),
    "sock": KindWords(
        "Clothing > Socks", 8, (("socks", "袜子"), ("cotton socks", "棉质袜子"), ("ankle socks", "短筒袜子"))
    ),
    "hat": KindWords(
        "Accessories > Hats", 28, (("hat", "帽子"), ("fedora hat", "礼帽帽子"), ("wide-brimmed hat", "宽檐帽子"))
    ),
    "handbag": KindWords(
        "Accessories > Bags > Handbags",
        95,
        (("handbag", "手提包"), ("ladies' handbag", "女士手提包"), ("city handbag", "都市手提包")),
    ),
    "watch": KindWords(
        "Accessories > Watches", 120, (("watch", "手表"), ("wrist watch", "腕戴手表"), ("quartz watch", "石英手表"))
    ),
    "umbrella": KindWords(
        "Accessories > Umbrellas",
        22,
        (("umbrella", "雨伞"), ("rain umbrella", "防雨雨伞"), ("stick umbrella", "长柄雨伞")),
    ),
    "backpack": KindWords(
        "Accessories > Bags > Backpacks",
        65,
        (("backpack", "双肩包"), ("school backpack", "学生双肩包"), ("travel backpack", "旅行双肩包")),
    ),
    "mug": KindWords(
        "Kitchen > Cups", 12, (("mug", "马克杯"), ("coffee mug", "咖啡马克杯"), ("ceramic mug", "陶瓷马克杯"))
    ),
    "teapot": KindWords(
        "Kitchen > Teapots", 32, (("teapot", "茶壶"), ("ceramic teapot", "陶瓷茶壶"), ("family teapot", "家用茶壶"))
    ),
    "apron": KindWords(
        "Kitchen > Aprons", 20, (("apron", "围裙"), ("kitchen apron", "厨房围裙"), ("baking apron", "烘焙围裙"))
    ),
    "chair": KindWords(
        "Home > Furniture > Chairs",
        110,
        (("chair", "椅子"), ("dining chair", "餐厅椅子"), ("wooden chair", "木质椅子")),
    ),
    "lamp": KindWords(
        "Home > Lighting", 55, (("lamp", "台灯"), ("table lamp", "桌面台灯"), ("bedside lamp", "床头台灯"))
    ),
    "vase": KindWords(
        "Home > Decoration", 30, (("vase", "花瓶"), ("flower vase", "插花花瓶"), ("ceramic vase", "陶瓷花瓶"))
    ),
    "ball": KindWords("Sport > Balls", 25, (("ball", "球"), ("play ball", "玩具球"), ("rubber ball", "橡胶球"))),
    "kite": KindWords(
        "Sport > Kites", 18, (("kite", "风筝"), ("diamond kite", "菱形风筝"), ("beach kite", "沙滩风筝"))
    ),
    "bottle": KindWords(
        "Sport > Bottles", 16, (("bottle", "水壶"), ("water bottle", "饮用水壶"), ("sports bottle", "运动水壶"))
    ),
}

COLOUR_WORDS: dict[str, Pair] = {
    "red": ("red", "红色"),
    "orange": ("orange", "橙色"),
    "yellow": ("yellow", "黄色"),
    "green": ("green", "绿色"),
    "blue": ("blue", "蓝色"),
    "purple": ("purple", "紫色"),
    "pink": ("pink", "粉色"),
    "brown": ("brown", "棕色"),
    "black": ("black", "黑色"),
    "white": ("white", "白色"),
}

PATTERN_WORDS: dict[str, tuple[Pair, Pair]] = {
    "plain": (("plain", "纯色"), ("solid-colour", "素面")),
    "striped": (("striped", "条纹"), ("stripy", "条纹")),
    "dotted": (("dotted", "波点"), ("polka-dot", "圆点")),
    "checked": (("checked", "格子"), ("gingham", "格纹")),
}

BRANDS = ("Aldora", "Bellmere", "Corvane", "Dunmore", "Estrel", "Fenwold", "Gildan", "Harrowe", "Isolde", "Juniper")

PRAISE: tuple[Pair, ...] = (
    ("classic", "经典"),
    ("modern", "现代"),
    ("everyday", "日常"),
    ("popular", "热销"),
    ("well-made", "精工"),
    ("new", "新款"),
    ("favourite", "人气"),
)

USES: tuple[Pair, ...] = (
    ("made to last", "经久耐用"),
    ("a good present", "送礼佳选"),
    ("easy to clean", "易于清洁"),
    ("ready to ship", "现货速发"),
    ("good for every day", "适合日常使用"),
    ("loved by our customers", "深受顾客喜爱"),
)

# Words in braces are filled in; a capital asks for a capital.
TITLES: tuple[Pair, ...] = (
    ("{Colour} {pattern} {noun}", "{colour}{pattern}{noun}"),
    ("{brand} {colour} {pattern} {noun}", "{brand} {colour}{pattern}{noun}"),
    ("{Noun}, {colour}, {pattern}", "{noun} {colour} {pattern}"),
    ("{Praise} {pattern} {noun} in {colour}", "{praise}{colour}{pattern}{noun}"),
)
DESCRIPTIONS: tuple[Pair, ...] = (
    (
        "{Praise} {colour} {noun} with a {pattern} look, by {brand}: {use}.",
        "{brand}出品的{praise}{noun}，{colour}{pattern}设计，{use}。",
    ),
    (
        "{Noun} from {brand}. Colour: {colour}. Pattern: {pattern}. {Use}.",
        "{brand}{noun}。颜色：{colour}。图案：{pattern}。{use}。",
    ),
    (
        "{Pattern} {noun} in {colour}, {use}. {Praise} design.",
        "{colour}的{pattern}{noun}，{use}，{praise}设计。",
    ),
)
