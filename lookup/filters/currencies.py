"""Currencies: codes of ISO 4217 by the digits behind the point, and the signs that stand for them."""

from __future__ import annotations

# https://www.iso.org/iso-4217-currency-codes.html: by digits behind the point
_NO_CENTS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_MILLS = "BHD JOD KWD LYD OMR TND"
# IQD has three digits by the standard and none in trade, `25,000 IQD`: as with cents, its mark is not known by itself.
_CENTS = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL "
    "HRK HTG HUF IDR ILS INR IQD IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT "
    "MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR "
    "SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU "
    "UZS VED VES WST XCD YER ZAR ZMW ZWG"
)
PLACES = {code: at for at, codes in ((0, _NO_CENTS), (2, _CENTS), (3, _MILLS)) for code in codes.split()}
SIGNS = {
    **{
        "€": "EUR",
        "EURO": "EUR",
        "£": "GBP",
        "₹": "INR",
        "₩": "KRW",
        "원": "KRW",
        "₽": "RUB",
        "РУБ": "RUB",
        "₺": "TRY",
    },
    **{"TL": "TRY", "₫": "VND", "₴": "UAH", "ГРН": "UAH", "₪": "ILS", "฿": "THB", "₱": "PHP", "₦": "NGN", "₡": "CRC"},
    **{"₲": "PYG", "₸": "KZT", "₾": "GEL", "₼": "AZN", "₵": "GHS", "₮": "MNT", "₭": "LAK", "៛": "KHR", "円": "JPY"},
    **{"US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD"},
    **{"SG$": "SGD", "NT$": "TWD", "R$": "BRL", "MX$": "MXN", "ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "ЛВ": "BGN"},
    **{"RMB": "CNY", "LEI": "RON", "RP": "IDR", "RM": "MYR"},
}
SHARED = {"$": "$", "¥": "¥", "元": "元", "KR": "kr", "RS": "Rs", "FR": "Fr"}  # signs of several currencies
MAY_BE = {
    "$": "ARS AUD BBD BMD BND BRL BSD BZD CAD CLP COP CUP CVE DOP FJD GYD HKD JMD KYD LRD MOP MXN NAD NIO NZD SBD SGD "
    "SRD TOP TTD TWD USD UYU WST XCD",
    **{"¥": "CNY JPY", "元": "CNY HKD MOP TWD", "kr": "DKK ISK NOK SEK", "Rs": "INR LKR MUR NPR PKR SCR"},
    "Fr": "BIF CDF CHF DJF GNF KMF RWF XAF XOF XPF",
}
