"""Feeds in the code pages that Excel and old shops write, through the command: letters are those that were meant."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.feeds import column, import_rows

WORDS = {
    "cp1252": {
        "German": "Größe grün für Küche Stühle weiß Öl Kleid rot Ø",
        "French": "été légère crème brûlée à château français déjà œuvre garçon naïve robe l’été",
        "Spanish": "niño pequeño cojín sofá algodón diseño montaña según colección mesa",
        "Danish": "blå grøn kjole møbel læder tærte æble børn lampe",
        "Portuguese": "calção maçã coração não lâmpada móveis sofá você mesa",
        "Italian": "città caffè però più perché qualità è già tavolo",
        "Finnish": "pöytä tuoli vihreä kenkä päällä lämmin sänky",
        "English": "shop’s “best” – 5° café € ™ £5 10 m³ ½ chair",
        "several": "Größe été crème brûlée für città garçon Küche",
    },
    "cp1250": {
        "Polish": "żółty łóżko śliczna ćma źródło krzesło sukienka",
        "Czech": "židle červený růžový šaty dřevo měkký tričko lampa",
        "Hungarian": "szék zöld kék cipő kötött gyűrű fűszer könyv",
    },
    "iso8859-2": {"Polish": "żółty łóżko śliczna ćma źródło ąę krzesło sukienka"},
    "iso8859-15": {"French": "cœur œuvre 5€ été robe"},
    "cp1254": {"Turkish": "kırmızı şişe ağaç çanta gömlek ışık yeşil İpek"},
    "cp1257": {"Lithuanian": "žalia kėdė šiltas ąžuolas čiužinys ūkis įdėklas"},
    "cp850": {"German": "Größe grün für Küche weiß natürlich"},
    "mac_roman": {"German": "Größe grün für Küche weiß natürlich"},
    "cp1251": {"Russian": "красное платье синяя ваза чашка ручной работы"},
    "gb18030": {"Chinese": "红色 连衣裙 蓝色 花瓶 手工 陶瓷 杯子"},
    "cp932": {"Japanese": "赤い ドレス 青い 花瓶 手作りの 陶器"},
}
CASES = [(page, language) for page, languages in WORDS.items() for language in languages]


@pytest.mark.parametrize(("page", "language"), CASES)
def test_words_of_a_language_tell_the_code_page(page: str, language: str, tmp_path: Path) -> None:
    """A feed of a hundred rows, whose letters no statistics of sentences fit."""
    chance, words = random.Random(5), WORDS[page][language].split()
    titles = [" ".join(chance.choices(words, k=4)) for _ in range(100)]
    text = "id,title\n" + "".join(f"{n},{title}\n" for n, title in enumerate(titles))
    rows, report = import_rows(tmp_path, text.encode(page))
    assert column(rows, "title") == titles, report["found"]
