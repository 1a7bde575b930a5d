"""Words that say little of a product, by language, folded. Small: whatever may name something is not among them."""

from __future__ import annotations

from collections.abc import Mapping

_LISTS = {
    "danish": "af at de den der det en er et for fra i med og på som til ved",
    "dutch": "aan bij de den der die dit een en het in is met naar of om op te van voor zijn",
    "english": "a an and are as at be by for from in into is it its of on or our that the their these this those to "
    "was were will with you your",
    "finnish": "ei ja joka kanssa on se sekä tai",
    "french": "à au aux avec ce ces cette dans de des du en est et la le les leur ou par pour que qui sa se ses son "
    "sur un une",
    "german": "am an auf aus bei das dem den der des die ein eine einem einen einer eines für im in ist mit oder und "
    "vom von zu zum zur",
    "italian": "a ai al alla alle con da dal dalla degli dei del della delle di e ed gli i il in la le lo nel nella o "
    "per su un una uno",
    "norwegian": "av de den det en er et for fra i med og på som til ved",
    "portuguese": "a ao aos as com da das de do dos e em na nas no nos o os ou para pelo por um uma",
    "russian": "в для до и из или к на не о от по под при с со у что это",
    "spanish": "a al con de del e el en es la las lo los o para por que se su sus un una y",
    "swedish": "av de den det en ett från för i med och på som till är",
}
STOP_WORDS: Mapping[str, frozenset[str]] = {language: frozenset(words.split()) for language, words in _LISTS.items()}
STOP_WORDS = {**STOP_WORDS, "porter": STOP_WORDS["english"], "dutch_porter": STOP_WORDS["dutch"]}
