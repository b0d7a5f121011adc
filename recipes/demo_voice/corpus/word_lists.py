"""Words and templates of `sentences`: what stands alone, names and places, who does what where and when, and how to join it.

In a template {first} takes one of FIRST, {n} a number in words; `Writer` in sentences.py knows all names.
"""

ALONE = (
    "Yes|No|Okay|Sure|Thanks|Thank you|Hello|Hi|Hi there|Hey|Goodbye|Bye|Bye bye|Please|Sorry|Maybe|Perhaps|Never|Always|Really|Exactly|"
    "Right|Wrong|Wait|Stop|Go|Look|Listen|Come on|Come here|Sit down|Stand up|Get up|Go away|Go on|Hold on|Hang on|Hurry up|Slow down|"
    "Calm down|Be quiet|Be careful|Watch out|Look out|Look here|Over here|Over there|Not yet|Not now|Not again|Not at all|Of course|"
    "Of course not|No problem|No way|No idea|No thanks|No doubt|Why not|Why|How|When|Where|Who|What|What now|What else|What for|Who knows|"
    "How come|How so|So what|Says who|Me too|Me neither|Same here|So do I|I see|I know|I hope so|I think so|I doubt it|I promise|I agree|"
    "I mean it|I forgot|I remember|I understand|I tried|I won|I lost|I am ready|I'm fine|I'm late|I'm here|I'm home|I'm sorry|I'm sure|"
    "It's me|It's true|It's late|It's cold|It's raining|It's over|It's done|It's nothing|It works|That's it|That's right|That's fine|"
    "That's enough|That's all|That's mine|That's odd|That's great|That hurts|That helps|Good|Great|Fine|Perfect|Lovely|Wonderful|Amazing|"
    "Brilliant|Excellent|Fantastic|Incredible|Terrible|Awful|Strange|Funny|Interesting|Impossible|Nonsense|Well done|Good job|Nice work|"
    "Good morning|Good afternoon|Good evening|Good night|Good luck|Good point|Good question|Good idea|Good news|Bad luck|Bad news|Welcome|"
    "Welcome back|Welcome home|Take care|Take a seat|Take your time|Sleep well|Get well soon|Have fun|Enjoy|Cheers|Congratulations|"
    "Happy birthday|Happy new year|Merry Christmas|Safe travels|See you|See you soon|See you later|See you tomorrow|See you tonight|"
    "Talk to you later|Until next time|Keep going|Keep quiet|Keep the change|Try again|Try this|Try it on|Read this|Open the door|"
    "Close the window|Turn it off|Turn it on|Turn around|Turn left|Turn right|Straight ahead|Up here|Down there|Upstairs|Downstairs|Outside|"
    "Inside|Nearby|Far away|Today|Tomorrow|Yesterday|Tonight|Soon|Later|Already|Again|Once more|One more|Twice|Almost|Hardly|Absolutely|"
    "Definitely|Certainly|Probably|Possibly|Actually|Honestly|Seriously|Finally|Suddenly|Luckily|Sadly|Anyway|Whatever|Nothing|Something|"
    "Everything|Nobody|Somebody|Everybody|Anybody home|Are you okay|Are you ready|Are you sure|Are you hungry|Are you there|Can I help|"
    "Can you hear me|Could be|Do you mind|Do it|Don't|Don't worry|Don't move|Don't cry|Don't ask|Let's go|Let's see|Let's eat|Let me see|"
    "Let me think|Let me help|Leave it|Forget it|Got it|Guess what|Here you are|Here we go|There you go|There it is|You win|You're right|"
    "You're welcome|You're late|You first|You and me|After you|Any questions|All right|All done|All gone|All the best|Almost there|"
    "As you wish|At last|Back so soon|Better late than never|By the way|Cold again|Dinner is ready|Everyone is here|Excuse me|Help yourself|"
    "How are you|How nice|How strange|How much|How far|How long|How old|In here|In a minute|Is that so|Is it far|Just kidding|Just a moment|"
    "Just in time|Last one|Later, maybe|Long time no see|My pleasure|My turn|Your turn|Next please|Never mind|Nice to meet you|Oh dear|"
    "Oh no|Oh well|On my way|One moment|Pardon me|Quick|Quiet please|Relax|Ready when you are|Say it again|Shall we|Smile|So long|So far so good|"
    "Speak up|Stay here|Still here|Sounds good|Sweet dreams|Tell me|Tell me more|The end|They left|This way|This one|That one|Time to go|"
    "Too bad|Too late|Too loud|Trust me|Try me|Very well|Very good|Warm enough|We made it|We won|We're lost|We're here|What a day|What a mess|"
    "What a pity|What happened|What time is it|What's this|What's wrong|Where to|Where is it|Which one|Who is it|Who's there|With pleasure|"
    "Wow|Yes please|Yes, of course|No, not really|Well, maybe|Oh, really|Hmm, okay|Sorry, what|Please, come in|Thanks a lot|Thanks again"
).split("|")

FIRST = (
    "Anna Peter Maria David Emma Thomas Laura Daniel Julia Martin Sophie Robert Alice James Helen George Clara Simon Nora Henry Rachel Oliver "
    "Grace Victor Susan Frank Mary Jack Linda Paul Kate Leo Ruth Adam Jane Eric Rose Mark Lucy Philip Diana Arthur Ellen Walter Amy Charles "
    "Monica Edward Nancy Steven Karen Michael Sarah Andrew Jessica William Elizabeth Richard Barbara Joseph Margaret Christopher Betty Anthony "
    "Sandra Donald Ashley Kenneth Carol Kevin Amanda Brian Melissa Ronald Deborah Timothy Stephanie Jason Rebecca Jeffrey Sharon Ryan Cynthia "
    "Jacob Kathleen Gary Shirley Nicholas Angela Jonathan Anna Larry Brenda Scott Pamela Justin Nicole Brandon Catherine Benjamin Samantha "
    "Samuel Christine Gregory Virginia Patrick Janet Alexander Heather Raymond Carolyn Dennis Maria Tyler Julie Aaron Joyce Jerry Victoria "
    "Nathan Kelly Harold Christina Douglas Joan Albert Evelyn Louis Lauren Russell Judith Bobby Olivia Philip Martha Harry Cheryl Vincent Megan "
    "Bruce Andrea Ralph Jacqueline Roy Hannah Eugene Doris Randy Kathryn Howard Gloria Carlos Teresa Miguel Sara Luis Janice Pedro Natalie"
).split()
LAST = (
    "Smith Johnson Brown Miller Davis Wilson Anderson Taylor Thomas Moore Jackson Martin Lee Thompson White Harris Clark Lewis Robinson Walker "
    "Young Allen King Wright Scott Hill Green Adams Nelson Baker Hall Campbell Mitchell Carter Roberts Phillips Evans Turner Parker Collins "
    "Edwards Stewart Morris Murphy Cook Rogers Morgan Peterson Cooper Reed Bailey Bell Kelly Howard Ward Cox Richardson Wood Watson Brooks "
    "Bennett Gray Hughes Price Myers Long Foster Sanders Ross Powell Sullivan Russell Jenkins Perry Butler Barnes Fisher Henderson Coleman"
).split()
PLACES = (
    "London Paris Boston Chicago Berlin Tokyo Madrid Rome Dublin Sydney Toronto Vienna Oslo Athens Cairo Denver Seattle Amsterdam Montreal Mexico "
    "Portugal Spain France Italy Germany Poland Sweden Finland Denmark Ireland Scotland England Wales Canada Brazil Argentina Chile Peru Japan "
    "China India Egypt Morocco Turkey Greece Austria Switzerland Belgium Holland Hungary Russia Iceland Australia Texas Florida California Ohio "
    "Alaska Hawaii Nevada Oregon Virginia Kansas Arizona Georgia Maine Houston Dallas Miami Phoenix Philadelphia Detroit Atlanta Moscow Warsaw "
    "Munich Hamburg Brussels Geneva Zurich Milan Venice Florence Naples Barcelona Edinburgh Glasgow Liverpool Manchester Oxford Cambridge"
).split()
TITLE = "Doctor|Professor|Captain|Mister|Miss|Uncle|Aunt|Officer|Judge|President|Mayor|Nurse|Sister|Brother|King|Queen".split(
    "|"
)
ROLE = (
    "my brother|my sister|her uncle|our neighbor|the new teacher|the manager|a friend of mine|his boss|the nurse|our landlord|"
    "the conductor|the driver|my grandmother|the old sailor|the chef|the editor|their lawyer|a young painter|the gardener"
).split("|")
THING = (
    "the letter|the suitcase|a violin|the old map|a bowl of soup|the green bottle|the concert tickets|a broken chair|two umbrellas|the photo album|"
    "a wooden box|the front gate|a jar of honey|the silver spoon|my winter coat|the radio|the last page|a pair of scissors|the garden hose|"
    "the birthday cake|a heavy parcel|the dictionary|the telescope|a clean towel|the wrong key|a warm blanket|the newspaper|the candle"
).split("|")
WHERE = (
    "at the station|in the kitchen|behind the theater|near the harbor|under the bridge|by the river|at the market|on the second floor|"
    "next to the bakery|in the attic|outside the museum|at the airport|in the back yard|on the beach|across the street|beside the fountain|"
    "in front of the bank|at the end of the road|on top of the hill|in the waiting room|inside the old mill|around the corner"
).split("|")
WHEN = (
    "this morning|last night|on Monday|after lunch|before the concert|in the summer|two days ago|at midnight|during the storm|next week|"
    "in early spring|before sunrise|every evening|on the weekend|at noon|last winter|once a month|on Thursday afternoon|late in the evening"
).split("|")
DID = (
    "found|lost|bought|painted|dropped|carried|forgot|repaired|borrowed|sold|opened|hid|noticed|wrapped|cleaned|delivered|moved|kept|"
    "promised to bring|wanted to keep|decided to sell|asked about|paid for|looked for|talked about|pointed at"
).split("|")
FEELS = "tired|happy|nervous|proud|curious|hungry|worried|calm|surprised|lonely|grateful|cheerful|sleepy|relieved|angry|bored".split(
    "|"
)
NOUN = (
    "river garden window teacher mountain market bridge kitchen doctor forest island village letter winter picture engine music story hospital "
    "farmer blanket lantern harbor castle meadow cottage statue tunnel library orchestra festival carpenter waiter sailor puppy kitten pigeon "
    "violin trumpet drum pepper onion carrot cherry peach lemon sugar butter cheese mustard vinegar cloud thunder lightning rainbow shadow"
).split()
ADJECTIVE = (
    "quiet narrow golden empty ancient gentle curious heavy bright hollow frozen crooked rusty cheerful distant silver wooden broken lonely "
    "famous secret sleepy muddy sunny windy perfect ordinary peculiar marvelous enormous slippery invisible beautiful dangerous expensive"
).split()
HOURS = "one two three four five six seven eight nine ten eleven twelve".split()
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
WORDS = dict(
    first=FIRST, last=LAST, place=PLACES, title=TITLE, role=ROLE, thing=THING, where=WHERE, when=WHEN, did=DID, feels=FEELS,
    noun=NOUN, adjective=ADJECTIVE, month=MONTHS, day=DAYS, hour=HOURS,
)  # fmt: skip
"""What stands for a name in braces."""

NAMED = (
    "{first} {last} {did} {thing} {where}.|Have you met {first} {last} from {place}?|{title} {last} lives in {place}.|"
    "{first}, this is {first} {last}.|My name is {first}, and I come from {place}.|{first} and {first} moved to {place} {when}.|"
    "The train from {place} to {place} leaves {when}.|{title} {last} asked {first} about {thing}.|Where is {first}?|Call {first}, please.|"
    "Dear {first}, thank you for {thing}.|{first} {last} was born in {place}.|I am looking for {title} {last}.|"
    "{place} is warmer than {place} in {month}.|Ask {first} or {first}, they know the way to {place}.|{first}! Come here!|"
    "Good morning, {title} {last}.|We visited {place}, {place} and {place}.|{first} never liked {place}.|Is {first} still in {place}?|"
    "{first} works with {first} and {first} {last}.|Nobody in {place} knew {title} {last}.|Happy birthday, {first}!|Well done, {first}.|"
    "{first} plays chess with {title} {last} {when}.|Did {first} tell you about {place}?|{role^} is called {first} {last}."
).split("|")
COUNTED = (
    "The answer is {n}.|It costs {n} dollars and {cents} cents.|She is {age} years old.|He was born in {year}.|It happened in {year}.|"
    "The meeting starts at {hour} {minute}.|The bus leaves at {hour} o'clock.|There are {n} chairs and {n} tables.|We need {n} more minutes.|"
    "My phone number is {digits}.|Room {n} is {where}.|The bridge is {n} feet long.|Only {small} of {small} answers were right.|"
    "On the {ordinal} of {month}, the shop will close.|It is {small} degrees below zero.|{n} plus {n} is more than {n}.|"
    "Please turn to page {n}.|Chapter {small} begins on page {n}.|The score was {small} to {small}.|He paid {n} dollars for {thing}.|"
    "They sold {n} tickets {when}.|About {percent} percent of the people agreed.|One half, two thirds, and three quarters.|"
    "The code is {digits}.|She ran {small} miles in {n} minutes.|He turned {age} on the {ordinal} of {month}.|"
    "The {ordinal} door on the left is open.|Add {small} eggs, {small} spoons of sugar and a pinch of salt.|Flight {digits} is delayed.|"
    "It takes {n} days by ship, or {small} hours by plane.|Wake me at {hour} {minute}, please.|{year} was a cold year.|{n}, {n}, {n}."
).split("|")
ASKED = (
    "Who {did} {thing}?|Where did you put {thing}?|When will {role} come back?|Why is {role} so {feels}?|How did {role} get here?|"
    "What is {where}?|Did {role} really forget {thing}?|Do you know where {role} lives?|Can you help me with {thing}?|"
    "Would you like to see {thing}?|Is {thing} still {where}?|Are you {feels}?|Have you ever been {feels} {when}?|Which {noun} is yours?|"
    "Could you tell me the way to the {noun}?|Shall we go home, or wait for {role}?|What does the {adjective} {noun} look like?|"
    "How many {noun}s did you see?|How much is {thing}?|Does {role} like the {noun}?|Isn't this the {adjective} {noun}?|What kind of {noun} is that?|"
    "Why don't we leave {thing} {where}?|Was it {role} who {did} {thing}?|May I borrow {thing}?|You saw {role} {where}, didn't you?|"
    "Who is the {adjective} man {where}?|When does the {noun} open?|Is it the {noun} or the {noun}?|What would you do without the {noun}?"
).split("|")
CLAUSE = (
    "{role} {did} {thing} {where}|the {adjective} {noun} was {where}|{role} felt {feels} {when}|{first} {did} {thing} {when}|"
    "nobody saw the {adjective} {noun}|there was a {noun} {where}|the {noun} and the {noun} looked {adjective}|{role} waited {where}|"
    "we heard the {noun} {when}|it was {adjective} and quiet {where}|she told {role} about the {noun}|he had never seen a {noun} before|"
    "everyone {did} {thing}|the road to the {noun} was {adjective}"
).split("|")
JOINED = (
    "{a}, and {b}.|{a}, but {b}.|When {a}, {b}.|{a}, because {b}.|Although {a}, {b}.|{a}, so {b}, and {c}.|If {a}, {b}.|"
    "{a}, while {b}.|{a}, but {b}, and {c}.|After {a}, {b}.|{a}, and before {b}, {c}.|Since {a}, {b}, but {c}.|{a}, and that is why {b}."
).split("|")
