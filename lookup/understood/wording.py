"""The words that bounds, negations and sizes are written with, in English and Chinese, and their regular
expressions.

`以上`, `以下` and `以内` include the number before them (Civil Code of the People's Republic of China, article 1259),
and so does `up to`; `under`, `低于` and `over` do not.
"""

from __future__ import annotations

import re

_HAN_AND_KANA = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # written without spaces: each character is a token
LETTER = rf"(?-i:[^\W{_HAN_AND_KANA}])"  # of scripts that have spaces between words; digits too
_NO_DIGIT = rf"(?-i:[^\W\d{_HAN_AND_KANA}])"
HAN_DIGITS = "零〇一二两三四五六七八九"
HAN_UNITS = {"十": 10, "百": 100, "千": 1_000, "万": 10_000}

# By terminal: phrases of words, and what needs no spaces around it. An apostrophe is as it is after cleaning.
_WORDS: dict[str, tuple[str, str]] = {
    "AT_MOST": (
        "no more than|not more than|no greater than|no higher than|not over|not above|not exceeding|up to|at most",
        "<=|=<|≤|不超过|不超|不高于|不大于|不多于|最多|至多|顶多",
    ),
    "AT_LEAST": (
        "no less than|not less than|no lower than|not under|not below|at least",
        ">=|=>|≥|不低于|不少于|不小于|至少|起码|最少",
    ),
    "BELOW": (
        "under|below|beneath|less than|lower than|cheaper than|fewer than|smaller than",
        "<|低于|少于|小于|便宜过",
    ),
    "ABOVE": ("over|above|more than|higher than|greater than|exceeding|pricier than", ">|高于|超过|大于|多于"),
    "OR_LESS": (
        "or less|or under|or below|or cheaper|or lower|or fewer|and under|and below|and less|and lower|and cheaper",
        "及以下|或以下|以下|之下|及以内|以内|之内|封顶",
    ),
    "OR_MORE": (
        "(?:or|and|&) (?:more|above|over|higher|up|better|greater)",
        r"\+|及以上|或以上|以上|之上|起",
    ),
    "MAX": ("max|maximum|within|tops", ""),
    "MIN": ("min|minimum", ""),
    "BETWEEN": ("between", "介于|在(?=[0-9])"),
    "WITHIN": ("", "之间|区间|左右"),
    "FROM": ("from", "从"),
    "TO": ("to|till|until", "-|~|到|至"),
    "AND": ("and", "&|和|与|跟"),
    "FOR": ("for", ""),
    "PRICED": (
        "(?:with )?(?:a |the )?(?:prices?|costs?|budget)(?: (?:is|are|of))?|priced(?: at)?|costing|that costs?",
        "(?:价格|价钱|价位|售价|单价|预算)(?:要|得)?(?:在|为|是)?",
    ),
    "RATED": (
        "(?:with )?(?:a |the )?(?:ratings?|reviews?)(?: (?:is|are|of))?|rated",
        "(?:评分|评级|评价)(?:在|为|是)?",
    ),
    "LIKE_THIS": (
        "like (?:this|that|it|these|those|them)|as (?:well|good|high) as (?:this|that|it|these|those|them)",
        "(?:和|跟|与)(?:这个|这款|这些|它|它们)(?:一样|相同|差不多)",
    ),
    "SAME_RATING": ("", "(?:相同|同样|一样)的?(?:评分|评级)|同等(?:评分|评级)"),
    "STARS": ("stars?", "★|⭐|星级|颗星|星|分"),
    "SIZE": ("(?:in )?(?:a )?sizes?", "尺码|尺寸|鞋码"),
    "IN_SIZE": ("", "码"),
    "NOT": (
        "not|no|non|without|except|except for|excluding|other than|but not|but no|anything but",
        "不要|不含|不带|不是|没有|除了|除|非|无",
    ),
    "FREE": ("free", f"-free(?!{LETTER})"),
    "ANY": ("any|a|an|the|in|of|with|made|made of|made from|from|colou?red", "任何"),
    "OF": ("", "的"),
    "MONEY": (
        "dollars?|bucks?|usd|us dollars?|euros?|eur|pounds?|gbp|quid|yuan|rmb|cny|yen|jpy|rupees?|inr|chf|cad|aud",
        r"us\$|hk\$|nt\$|a\$|c\$|\$|€|£|¥|₹|₩|元|块钱|块|圆|円|美元|美金|欧元|英镑|日元|港币|港元|人民币",
    ),
}  # fmt: skip


def words_in(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


_FIRST = (
    "AT_MOST",
    "AT_LEAST",
    "OR_LESS",
    "OR_MORE",
    "FREE",
    "LIKE_THIS",
    "SAME_RATING",
)  # `no more than` before `no`, `and up` before `and`

# What sits before a bare number that is no price: ages, sizes, parts of series. In lower case.
NO_PRICE_BEFORE = words_in(
    "women womens woman men mens man kids kid children child boys boy girls girl baby babies toddler "
    "toddlers adults adult seniors people those ages age aged years year old months size sizes grade "
    "grades level levels number no vol volume chapter part episode season series version gen generation "
    "type model class windows office top eu uk us 岁 龄 码 号 第"
)

# As they are written, in lower case: the sign or code of their currency.
CURRENCIES = {
    **dict.fromkeys(("dollar", "dollars", "buck", "bucks", "$"), "$"),
    **dict.fromkeys(("us dollar", "us dollars", "usd", "us$", "美元", "美金"), "USD"),
    **dict.fromkeys(("euro", "euros", "eur", "€", "欧元"), "EUR"),
    **dict.fromkeys(("pound", "pounds", "gbp", "quid", "£", "英镑"), "GBP"),
    **dict.fromkeys(("yuan", "元", "块", "块钱", "圆"), "元"),
    **dict.fromkeys(("rmb", "cny", "人民币"), "CNY"),
    **dict.fromkeys(("yen", "jpy", "日元", "円"), "JPY"),
    **dict.fromkeys(("rupee", "rupees"), "Rs"),
    **dict.fromkeys(("inr", "₹"), "INR"),
    **dict.fromkeys(("hk$", "港币", "港元"), "HKD"),
    **{"¥": "¥", "₩": "KRW", "nt$": "TWD", "a$": "AUD", "c$": "CAD", "chf": "CHF", "cad": "CAD", "aud": "AUD"},
}
WEIGHTS_TOO = frozenset(("pound", "pounds"))  # no price where nothing is sold in that currency

# Values that many catalogs have and that say nothing of what is looked for.
NO_VALUES = words_in(
    "a an and any all as at by for from in is it new no none not null of on one or other others set the "
    "to true false unknown various with without yes 其他 其它 无 有 是 否 默认"
)

# Words for one thing, of which a catalog has some: colours and materials, English and Chinese.
SAME = tuple(
    frozenset(group.split())
    for group in (
        "black 黑色", "white 白色", "red 红色", "blue 蓝色", "green 绿色", "yellow 黄色", "orange 橙色 橘色",
        "purple 紫色", "violet 紫罗兰色", "pink 粉色 粉红色", "brown 棕色 褐色 咖啡色", "grey gray 灰色",
        "gold golden 金色", "silver 银色", "beige 米色", "navy 藏青色 藏蓝色", "cream 奶油色 米白色",
        "turquoise 青绿色", "cyan 青色", "multicolor multicolour 彩色 多色", "transparent clear 透明", "khaki 卡其色",
        "leather 皮革 皮质 皮制 真皮", "cotton 棉 棉质 纯棉", "wool 羊毛", "silk 丝绸 真丝", "linen 亚麻",
        "wood wooden 木 木质 木制", "metal 金属", "plastic 塑料", "glass 玻璃", "ceramic 陶瓷", "denim 牛仔布",
        "polyester 涤纶 聚酯纤维", "nylon 尼龙",
    )
)  # fmt: skip


def terminal(name: str) -> str:
    """The regular expression of a terminal of the grammar: whole words, which begin and end no longer one."""
    words, marks = _WORDS[name]
    patterns = []
    if words:
        patterns.append(rf"(?<!{_NO_DIGIT})(?<!{LETTER}[-'])(?:{_longest_first(words)})(?!{LETTER}|'{LETTER})")
    if marks:
        patterns.append(f"(?:{_longest_first(marks)})")
    return "|".join(patterns)


def terminals() -> list[tuple[str, int]]:
    """Every terminal made of words, with its priority over others."""
    return [(name, 4 if name in _FIRST else 3) for name in _WORDS]


def _longest_first(alternatives: str) -> str:
    """Alternatives, the longest first; a `|` inside of brackets stays where it is."""
    parts = re.split(r"\|(?![^()]*\))", alternatives)
    return "|".join(sorted(parts, key=len, reverse=True))
