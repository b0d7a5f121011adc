"""Written to spoken, kind by kind: exact words."""

import pytest

from orpheus.text.normalization import normalize

KINDS = {
    "dates": [
        ("born c.1650, died ca. 1702", "born circa sixteen fifty, died circa seventeen oh two"),
        ("open on 14 AUG 2031", "open on the fourteenth of August, twenty thirty-one"),
        ("due 2/29/24 at the latest", "due February twenty-ninth, twenty-four at the latest"),
        ("from 2019/11/30 to 30.11.2020", "from November thirtieth, twenty nineteen to the thirtieth of November, twenty twenty"),
        ("since oct 1871", "since October eighteen seventy-one"),
        ("on 8-10 June and June 12-14", "on the eighth to the tenth of June and June twelfth to fourteenth"),
        ("Wed, Feb. 3 or Tue-Sat", "Wednesday, February third or Tuesday to Saturday"),
        ("you may 4 times, they march 9 miles", "you may four times, they march nine miles"),
    ],
    "years": [
        ("reigned 1603-1625, then 1649–60", "reigned sixteen oh three to sixteen twenty-five, then sixteen forty-nine to sixty"),
        ("the 2000s, the 1840s-60s and '20s", "the two thousands, the eighteen forties to sixties and twenties"),
        ("in 1066 and 55 B.C. or AD 79", "in ten sixty-six and fifty-five B C or A D seventy-nine"),
        ("grew in 4Q19 and 2H21", "grew in the fourth quarter of nineteen and the second half of twenty-one"),
        ("the 2011/12 season", "the twenty eleven twelve season"),
    ],
    "times": [
        ("ran 2:05:09 and 0:59.4", "ran two hours five minutes and nine seconds and zero fifty-nine point four"),
        ("8am-4pm, 9:15-10:05, 7-9 p.m.", "Eight a m to four p m, nine fifteen to ten oh five, seven to nine p m."),
        ("at 6.45 pm EST", "at six forty-five p m E S T"),
        ("at 3:20:10 p.m.", "at three twenty p m and ten seconds"),
    ],
    "money": [
        ("pay $15/mo or £3/wk", "pay fifteen dollars per month or three pounds per week"),
        ("US$75, C$8.50 and NT$900", "Seventy-five U S dollars, eight Canadian dollars and fifty cents and nine hundred New Taiwan dollars"),
        ("EUR 60 or 1,500 JPY or ₹250", "Sixty euros or one thousand five hundred yen or two hundred fifty rupees"),
        ("$30-$45, $2.50-$3.75, €4-6 million", "Thirty to forty-five dollars, two dollars and fifty cents to three dollars and seventy-five cents, four to six million euros"),
        ("$7.5, $9.100 and $.75", "Seven dollars and fifty cents, nine dollars and ten cents and seventy-five cents"),
        ("£6bn and 80¢", "Six billion pounds and eighty cents"),
    ],
    "measures": [
        ("12 km2, 40 m³, 3 sq. ft", "Twelve square kilometers, forty cubic meters, three square feet"),
        ("633nm, 54 Mbps, 7200 rpm, 32 psi", "Six hundred thirty-three nanometers, fifty-four megabits per second, seven thousand two hundred revolutions per minute, thirty-two p s i"),
        ("60 million kg and 5 1/2 lbs", "Sixty million kilograms and five and a half pounds"),
        ("a 10-km race, 3–4 kg, 6x9 ft", "a ten kilometer race, three to four kilograms, six by nine feet"),
        ("2.5x, 7%-9%, 9.8 m/s²", "Two point five times, seven to nine percent, nine point eight meters per second squared"),
        ("90/km², 12 g/cm3", "Ninety per square kilometer, twelve grams per cubic centimeter"),
        ('an 8" pan and a "size 8" shoe', 'an eight inches pan and a "size eight" shoe'),
        ("at 52° N", "at fifty-two degrees north"),
    ],
    "numbers": [
        ("7-3=4, 8+5, 6 * 2", "Seven minus three equals four, eight plus five, six times two"),
        ("±0.5, ≥ 18 and < 30", "Plus or minus zero point five, greater than or equal to eighteen and less than thirty"),
        ("x², 10³ and 2⁵", "x squared, ten cubed and two to the fifth"),
        (".75, 30k steps, 1.2M fans", "Point seven five, thirty thousand steps, one point two million fans"),
        ("won 21-14-3, wait...5", "won twenty-one, fourteen, three, wait...five"),
        ("2/5ths, 3/8, 5/2, 60/60", "Two fifths, three eighths, five over two, sixty sixty"),
        ("a 401(k), C++ and F#", "a four oh one k, C plus plus and F sharp"),
        ("~ 40, ~$6, 1/4-3/4, -1/2", "About forty, about six dollars, one quarter to three quarters, minus one half"),
        ("see p.267, i.14 or (d.1934)", "see page two hundred sixty-seven, i. Fourteen or (d. Nineteen thirty-four)"),
        ("2nd-4th", "Second to fourth"),
    ],
    "digit by digit": [
        ("ISBN 978-1-4028-9462-6", "I S B N nine seven eight, one, four zero two eight, nine four six two, six"),
        ("my SSN is 078-05-1120", "my S S N is zero seven eight, zero five, one one two zero"),
        ("call +49 30 123456 or 1-800-GO-FAST", "call plus four nine, three zero, one two three four five six or one, eight hundred, go fast"),
        ("(212) 555-0187 ext. 44", "Two one two, five five five, zero one eight seven, extension four four"),
        ("the card ending in 4417 and the decade ending in 1900", "the card ending in four four one seven and the decade ending in nineteen hundred"),
        ("the code is 90210", "the code is nine zero two one zero"),
    ],
    "addresses": [
        ("1600 Oak Blvd, Salem, OR 97301", "Sixteen hundred Oak Boulevard, Salem, Oregon nine seven three zero one"),
        ("at 305 W 42nd St, Albany, NY", "at three oh five West forty-second Street, Albany, New York"),
        ("Oh, OK. Well, ME too.", "Oh, okay. Well, me too."),
    ],
    "electronic": [
        ("see localhost:8080/api or 10.0.0.12", "see localhost colon eighty eighty slash api or one zero dot zero dot zero dot one two"),
        ("open notes.txt on ftp.site.fr", "open notes dot text on ftp dot site dot fr"),
        ("@anna likes #opera", "At anna likes hashtag opera"),
        ("x_y-1@mail.co.uk", "X underscore y dash one at mail dot co dot U K"),
    ],
    "Roman numerals": [
        ("Pope John XXIII and Louis XIV", "Pope John the twenty-third and Louis the fourteenth"),
        ("Chapter XLIX, PART LX, Super Bowl LVII", "Chapter forty-nine, part sixty, Super Bowl fifty-seven"),
        ("See chapter XLII and parts LXXI to LXXIV.", "See chapter forty-two and parts seventy-one to seventy-four."),
        ("MIX", "M I X"),  # alone, as a line of its own, it is a number only up to thirty-nine
        ("Charles I of England; Mary I know", "Charles the first of England; Mary I know"),
        ("XII", "Twelve"),
        ("made in MCMLXXIV", "made in nineteen seventy-four"),
        ("the CIVIL law, a Section C, my CD", "the civil law, a Section C, my C D"),
    ],
    "words": [
        ("The 10/45/148 list; and/or, either/or", "The ten slash forty-five slash one hundred forty-eight list; and or, either or"),
        ("Smith & Co., Maj. Lee, Mrs Day", "Smith and Company, Major Lee, Missus Day"),
        ("St Anne vs Mt Hood", "Saint Anne versus Mount Hood"),
        ("w/o sugar, w/ milk", "Without sugar, with milk"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("written, spoken", [case for cases in KINDS.values() for case in cases])
def test_each_kind_is_said(written, spoken):
    assert normalize(written) == spoken


def test_every_kind_has_three_cases():
    assert all(len(cases) >= 3 for cases in KINDS.values())


@pytest.mark.parametrize(
    "text",
    [
        "He sat. The sun was up, and the sat nav was wrong.",
        "I may march with them; in the fall we wed.",
        "She said no. I did not.",
        "A dog, a cat (or both) - and so on; yes/no stays a question of words.".replace("yes/no", "yes or no"),
        "We met at the well-known, half-empty inn.",
        "Malcolm X and Vitamin C are names.",
    ],
)
def test_words_that_look_like_short_forms_stay(text):
    assert normalize(text) == text


@pytest.mark.parametrize(
    "text", ["https://a.com/²", "②@x.com", "x⁵⁻", "①:③0", "https://b.org/x?y=٣", "$²", "½½½", "1'٣", "٣/٤ km²"]
)
def test_odd_digits_raise_nothing(text):
    assert normalize(text)


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("6.02e23 atoms", "Six point zero two times ten to the power of twenty-three atoms"),
        (
            "about 1.5e-3 or 4E+10",
            "about one point five times ten to the power of minus three or four times ten to the power of ten",
        ),
        ("2^10 and 10^-3", "Two to the power of ten and ten to the power of minus three"),
        ("so x^2 + y^3", "so x squared plus y cubed"),
        ("in flat 5e on row 2e", "in flat five e on row two e"),
        ("the poets of WWI and WWII", "the poets of World War one and World War two"),
        ("speed in km/h or m/s", "speed in kilometers per hour or meters per second"),
        ("he/she drove", "he or she drove"),
    ],
)
def test_powers_and_wars(written, spoken):
    assert normalize(written) == spoken
