"""English short forms and how each is said: the tables behind orpheus/text/normalization/rules.py."""

MONTHS = "January February March April May June July August September October November December".split()
SCALE = "hundred|thousand|million|billion|trillion"

CURRENCIES = {  # one, several, a hundredth, hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
}
SUFFIXES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion", "B": "billion"}

UNITS = {  # one, several
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "m": ("meter", "meters"),
    "mi": ("mile", "miles"),
    "mph": ("mile per hour", "miles per hour"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "g": ("gram", "grams"),
    "lbs": ("pound", "pounds"),
    "lb": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"),
    "l": ("liter", "liters"),
    "L": ("liter", "liters"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "Hz": ("hertz", "hertz"),
    "kW": ("kilowatt", "kilowatts"),
    "W": ("watt", "watts"),
    "V": ("volt", "volts"),
    "KB": ("kilobyte", "kilobytes"),
    "kB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
}

PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
SIGNS = str.maketrans({"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "−": "-"})

ABBREVIATIONS = {
    **{"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "Rev": "Reverend", "Hon": "Honorable"},
    **{"Gen": "General", "Col": "Colonel", "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Gov": "Governor"},
    **{"Sen": "Senator", "Rep": "Representative", "Mt": "Mount", "Jr": "Junior", "Sr": "Senior", "Ave": "Avenue"},
    **{"Blvd": "Boulevard", "Rd": "Road", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation"},
    **{"Dept": "Department", "approx": "approximately", "vs": "versus", "etc": "et cetera", "dept": "department"},
    **{"e.g": "for example", "i.e": "that is", "Dr": "Doctor", "St": "Saint", "est": "established"},
}
BEFORE_NUMBER = {"No": "number", "no": "number", "Nos": "numbers", "p": "page", "pp": "pages", "Vol": "volume"}
BEFORE_NUMBER |= {
    "vol": "volume",
    "Fig": "figure",
    "fig": "figure",
    "Ch": "chapter",
    "ch": "chapter",
    "Sec": "section",
}
STREETS = {"St": "Street", "Dr": "Drive"}  # after a name; before one they are a saint and a doctor

RULERS = (
    "Henry Louis George Charles Edward Richard Elizabeth William James John Paul Pius Benedict Philip Francis Napoleon "
    "Catherine Peter Alexander Frederick Ivan Nicholas Leo Gregory Mary Margaret Ferdinand Victoria"
).split()
NUMBERED = (
    "Chapter Part Act Scene Volume Book Section Phase Type Class Level Title Appendix Figure Article Stage".split()
)

# Capitals: read as a word, read letter by letter, or short words that someone shouts.
ACRONYMS = set(
    "NASA NATO UNESCO UNICEF OPEC COVID AIDS NAFTA FIFA PIN RAM SIM LASER SWAT SCUBA RADAR JPEG ASAP".split()
)
INITIALISMS = set(
    "AI API ATM CEO CPU DIY DNA EU FAQ GPU HIV IBM ID IEEE IOU IP IQ ISBN MIT UFO UK UN URL USA USB VIP".split()
)
SHORT_WORDS = set(
    "AM AN AND ANY ARE AS AT BAD BE BIG BUT BY CAN DAY DID DO END FOR GET GO GOD GOT HAD HAS HE HER HEY HI HIM HIS HOT HOW I IF "
    "IN IS IT LET LOT ME MY NEW NO NOT NOW OF OFF OH OLD ON ONE OR OUR OUT OWN RED RUN SAD SAY SEE SHE SO SUN THE TO TOO TWO UP "
    "US USE WAR WAS WAY WE WHO WHY WIN WON WOW YES YET YOU ALL AGO ASK ATE ACT ADD AIR ALSO".split()
)
