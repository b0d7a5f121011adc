"""Words that a full stop follows without ending the sentence, by language; and words that begin a sentence after one that may.

Written in lower case without the last full stop; what has several is one word: "z. B." is "z.b", "p. ej." is "p.ej".
"""

from dataclasses import dataclass
from functools import cache

# --- never the end ---------------------------------------------------------------------------------------------------

_NEVER = {
    "any": "mr mrs ms dr prof st rev vs cf viz sgt capt lt cmdr e.g i.e",
    "en": "sr jr fr hon gen col maj sen rep gov mt approx fig figs vol dept est messrs mme pres supt adm brig cpl esq insp",
    "de": "z.b d.h d.i u.a.m i.d.r i.d.f i.a s.o s.u u.u z.t z.zt z.hd o.g o.ä m.a.w m.e f.d.r sog bzw ca evtl ggf inkl exkl zzgl "
    "abzgl vgl hrsg bes geb gest verh allg bspw insb insbes eigtl ehem gem lt hr fr frl dipl ing med jur phil rer nat habil priv-doz "
    "dres prof.dr st sankt mio mrd tsd ausg aufl bd bearb übers hl dir präs stellv gebr fam univ staatl städt techn "
    "ggü mind zus v.a i.v i.e.s ph.d zzt usf.a ",
    "fr": "mm mme mmes mlle mlles me mgr pr ste env cad c.-à-d p.ex cie fig chap éd éds trad hab boul av bd fg dép arr "
    "lieut cdt cne adj gal sgt ing réf tél",
    "es": "ee sr sra sres dra dras sras srta srtas dña lic lcda lcdo ing arq gral cnel cap tte pdte pdta excmo excma ilmo ilma fdo atte p.ej avda "
    "av pza pl c ud uds vd vds fam hnos hno dpto prov pág págs ej núm aprox máx mín tel sto sta mons pbro rvdo ntra ntro dcha izq esq",
    "it": "sig dott sigg sig.ra sig.na sigra signa dott.ssa dottssa prof.ssa profssa arch avv geom ing rag on sen egr gent ill spett mons cav comm "
    "gen col cap ten magg dir fig figg pag pagg es ess vol voll cfr cit ecc.za s.e sec tab tel p.es fam f.lli v.le p.zza ss op prot",
    "pt": "sr sra srs sras srta dr dra drs profa engº eng exmo exma ilmo ilma av pç tel ex p.ex pág págs núm d dept depto gen cel cap "
    "sgt maj ten alm min fig vol ed aprox máx mín ltd",
    "nl": "dhr mevr mw mej ir ing drs mr ds dr prof bijv bv ca o.a d.w.z m.b.t i.v.m t.a.v m.a.w t.o.v n.a.v o.l.v i.p.v i.t.t "
    "incl excl evt resp zgn nl t.w z.g.n vnl gebr mgr kol gen kap lt ged fig afb hfdst dir",
    "pl": "np pocz pn lit tzn tzw tj m.in prof hab inż mgr lek płk gen kpt mjr por ppłk sierż kpr ul al pl woj św śp bp abp kard ks o m.st pow "
    "gm zob por pt red doc mec kom podkom nadkom insp asp dyr prez wyd tłum opr rys tab tys mln mld nt ww zw jw ds",
    "cs": "např tj tzv tzn mj resp popř příp event cca ing mgr bc mudr judr phdr rndr paeddr thdr csc doc prof dr sv ul nám tř plk gen "
    "kpt por mjr npor čs čsl pí p sl viz str obr tab tis mil mld kol prim red st ev",
    "sk": "napr tj tzv tzn resp príp cca ing mgr bc mudr judr phdr rndr doc prof dr sv ul nám plk gen kpt por mjr p str obr tab tis mil mld",
    "ru": "т.е т.к т.н т.о ул пр-т пер пл просп наб бул обл р-н с.г пос дер корп проф акад доц канд ген полк подп кап лейт "
    "гр г-н г-жа св напр см ср прим ред изд сост соч сб вып илл тел моб зам зав пом англ нем фр лат греч исп итал букв",
    "uk": "вул пров пл просп обл р-н смт проф акад доц канд ген полк напр див пор прим ред вид англ нім фр лат грец",
    "bg": "т.е т.нар т.г ул бул пл проф акад доц д-р инж ген полк напр вж г-н г-жа св",
    "tr": "dr doç yrd prof av sn alb org gen yzb bnb tğm müh mim öğr gör cad sk mah apt bul örn bkz hz çev haz yay mr mrs ing fr "
    "lat alm dz sok",
    "sv": "t.ex bl.a d.v.s dvs s.k t.o.m fr.o.m m.a.o p.g.a f.d ca resp inkl exkl st kap fig prof dr tel o.d dir ung jfr",
    "da": "f.eks bl.a dvs d.v.s s.k ca hhv inkl ekskl prof dr tlf jf mht pga hr fr frk sml",
    "no": "f.eks bl.a dvs d.v.s s.k ca hhv inkl ekskl prof dr tlf jf mht pga hr fr",
    "fi": "esim ns ts mm ym.s prof tri toht puh klo n eaa nk vrt huom s.o",
    "hu": "pl ún ill dr prof ifj id özv kb u.i ti sz.ú st szt gr u st",
    "ro": "dl dna dra d-na d-l dlui dr prof ing av str bd sf gen col cap lt mr p.ex ex vs",
    "hr": "npr tj tzv dr mr prof ing sv ul gosp gđa gđica br odn cca",
    "sr": "npr tj tzv dr mr prof ing sv ul g gđa gđica br odn нпр тј тзв др мр проф инг св ул г гђа бр одн",
    "sl": "npr tj t.i dr mag prof ing sv ul g ga gdč oz cca",
    "ca": "sr sra srs sres dr dra prof pg pàg núm tel av c pl p.ex st sta",
    "gl": "sr sra dr dra prof páx núm tel av p.ex sto sta",
    "el": "κ κκ κα δρ καθ αρ αριθ βλ λ.χ π.χ δηλ κεφ σελ τηλ οδ λεωφ αγ στρ υπ παρ εδ αντ δις εκ χιλ",
    "lt": "pvz doc prof dr gen plk kun šv vad t.y t.t.y pan liet angl vok lot tūkst mln mlrd",
    "lv": "piem prof dr doc ģen plkv sv t.i t.s angl vāc tūkst milj",
    "et": "nt s.o st nn prof dr hr pr lk tel ingl sks",
    "is": "t.d þ.e m.a sr dr prof hr frú s.s u.þ.b",
    "hi": "डॉ डा श्री श्रीमती सुश्री कु पं प्रो मो स्व ए बी सी डी एफ एच जे एल एम एन ओ क्यू आर एस टी यू वी डब्ल्यू एक्स वाई "
    "कि.मी कि.ग्रा रु सं डब्लू",
    "mr": "डॉ श्री श्रीमती सौ कु प्रा पं मा रु क्र उदा वि सा",
    "ne": "डा श्री प्रा पं रु नं वि सं ",
    "bn": "ডা ড মো মোঃ মি মিসেস ড় প্রফেসর কি.মি রু এ বি সি",
    "ta": "திரு திருமதி டாக்டர் ரூ பேரா எஸ் எம் என் எல் ஆர் எப் எக்ஸ் எச் கி.மீ",
    "te": "డా శ్రీ శ్రీమతి రూ ప్రొ కి.మీ ఎస్ ఎమ్ ఎన్ ఎల్ ఆర్ ఎఫ్",
    "kn": "ಡಾ ಶ್ರೀ ಶ್ರೀಮತಿ ರೂ ಪ್ರೊ ಕಿ.ಮೀ ಎಸ್ ಎಂ ಎನ್ ಎಲ್ ಆರ್",
    "ml": "ഡോ ശ്രീ ശ്രീമതി രൂ പ്രൊഫ കി.മീ എസ് എം എൻ എൽ ആർ",
    "gu": "ડૉ ડો શ્રી શ્રીમતી રૂ પ્રો કિ.મી",
    "ar": "ق.م",
    "fa": "ق.م ه.ش ه.ق",
    "ur": "ق.م",
    "he": "גב פרופ עו",
    "id": "dr drs drg prof ir hj h jl tn ny sdr yth a.n u.p d.a gg",
    "ms": "dr prof hj jl tn en pn cik yb ",
    "vi": "tp ts gs pgs ths bs ks q p tx tt",
    "hy": "պրոֆ դոկ փող պող հեռ թ նկ տե",
    "am": "ዶ/ር አቶ ወ/ሮ ፕሮፌሰር",
}

# --- not the end before a number -------------------------------------------------------------------------------------

_BEFORE_NUMBER = {
    "any": "no nos nr nrs pp p art arts sec ch eq tel fax abb abs kap ziff s str ca fig vol cap num núm nº pag pág pags tab bd vv ff",
    "en": "al pop jan feb mar apr jun jul aug sep sept oct nov dec par para ex app ver op cl reg lot",
    "de": "str hausnr art abs nr nrn bl bl.nr pos ps az rn rdnr kto blz plz tel psalm mt lk joh röm kor mos jes jer offb",
    "fr": "n° nos art al p pp § ch chap t liv janv févr juil sept oct nov déc",
    "es": "n.º arts art apdo párr ene feb abr may jun jul ago sept oct nov dic km",
    "it": "artt art att co c.c c.p n. nn lett par s gen febbr apr ott nov dic lun mar mer",
    "pt": "art arts n.º inc par jan fev abr jun jul ago set out nov dez km",
    "nl": "art blz p nr nrs hfst par jan feb mrt apr jun jul aug sept okt nov dec",
    "pl": "ur art nr nry ust pkt par poz str s rys tab godz r ok od do t tel",
    "cs": "č čl odst písm str s obr tab tel hod",
    "sk": "č čl ods písm str s obr tab tel hod",
    "ru": "№ род ум ст стр с п пп гл рис табл д кв корп т тт вып ч оп ок тел г",
    "uk": "№ ст стор с п пп гл рис табл буд кв т ч тел",
    "tr": "no s sf mad md şek tab cilt tel",
    "sv": "nr s kap art st tel kl",
    "el": "αριθ αρ άρθρ παρ σελ κεφ τηλ σ τ",
    "hu": "sz old o tel",
    "ro": "nr art alin pag lit pct",
    "hi": "रु सं नं क्र",
    "ta": "ரூ எண்",
}

# --- the end where a sentence begins after them ----------------------------------------------------------------------

_MAYBE = {
    "any": "a.m p.m u.s u.k u.n e.u d.c b.c a.d b.c.e c.e ph.d m.d b.a m.a inc ltd co corp bros a.c d.c a.c.n p.v e.v v.chr n.chr",
    "de": "etc usw usf u.a u.ä u.v.m u.v.a jh jhd jhdt jhs a.d.h d.gr d.j d.ä u.s.w m.e o.ä o.j dgl u.dgl s.a p.a jr sr max min v.l n.l",
    "fr": "av.j.-c apr.j.-c j.-c s.a h.t t.t.c",
    "es": "s.a ee.uu uu cía s.l vs",
    "it": "p.e.v s.p.a s.r.l c.c c.p",
    "pt": "s.a ltda cia",
    "nl": "e.d e.a b.v n.v m.m",
    "pl": "im br ur m.in cz",
    "cs": "s.r.o a.s",
    "sk": "s.r.o a.s",
    "ru": "им др пр",
    "tr": "a.ş ltd şti",
    "el": "μ.χ π.μ μ.μ ε.ε α.ε η.π.α",
}

# --- the end wherever no lower case follows, though they look like initials or stand before numbers ------------------------

# A single letter only after a number: "в 1990 г. Потом", but "г. Москва".
_ENDS = {
    "en": "i",
    "pl": "r w n.e p.n.e zł gr s p.p b.r ub.r br.r",
    "cs": "n.l př.n.l př.kr r n.m",
    "sk": "n.l pred.kr r",
    "ru": "т.д т.п г гг в вв н.э а.е т л м с ч я",
    "uk": "т.д т.п р рр ст н.е г",
    "bg": "т.н г н.е",
    "sv": "m.m o.s.v m.fl e.kr f.kr",
    "da": "m.m o.s.v m.fl e.kr f.kr",
    "no": "m.m o.s.v m.fl e.kr f.kr",
    "ro": "ș.a ş.a e.n î.hr d.hr",
    "el": "κ.λπ κ.ά κ.α κ.ο.κ",
}

# --- what begins a sentence ------------------------------------------------------------------------------------------

# Function words: a name or, in German, a noun is none of them.
_STARTERS = {
    "en": "the a an this that these those there here he she it we they you i his her its our their my your what when where who why how "
    "which if as after before since while although though because but and or so then thus now in on at by for from with to of no not "
    "yes all some many most each every both another other once until unless despite during however meanwhile moreover also even still "
    "just only perhaps maybe let do did does is are was were can could will would should may might have has had",
    "de": "der die das dem den des ein eine einer eines einem einen er sie es wir ihr ich du man und aber doch oder denn auch nur noch "
    "schon so dann danach da dabei dafür dagegen daher dahin damals damit daneben daran darauf daraus darin darum darüber dazu dort "
    "deshalb deswegen trotzdem allerdings außerdem zudem jedoch dennoch inzwischen mittlerweile schließlich zunächst zuerst später "
    "nun jetzt heute gestern hier wo was wer wie wann warum weshalb wenn als ob weil obwohl nachdem bevor während seit bis in im an am "
    "auf aus bei beim mit nach von vom vor zu zum zur für um über unter durch gegen ohne trotz wegen zwischen neben laut dies diese "
    "dieser dieses diesem diesen jene jener sein seine seiner seinen ihre ihren ihrer unser unsere mein meine dein deine kein keine "
    "keiner alle alles viele einige manche andere beide jede jeder jedes nicht ja nein nichts niemand jemand vielleicht natürlich "
    "leider sogar sonst ebenso ferner zwar bereits erst wieder immer weitere insgesamt eigentlich so solche wegen gab gibt ist war hat",
    "fr": "le la les un une des du de ce cet cette ces il elle on nous vous ils elles je tu et mais ou donc or ni car en dans sur sous "
    "par pour avec sans après avant depuis pendant si quand comme où qui que quoi puis ensuite enfin alors ainsi aussi son sa ses "
    "leur leurs notre nos mon ma mes tout tous toute c'est cela ça au aux à",
    "es": "el la los las un una unos unas lo este esta esto estos estas ese esa eso aquel él ella ellos ellas nosotros yo tú usted y e "
    "pero o ni sino en de del al a con sin por para sobre entre desde hasta tras según si cuando como donde que quien cuál qué cómo "
    "luego después antes entonces así también además su sus mi mis tu tus nuestro todo todos no sí se le les me nos ya más",
    "it": "il lo la i gli le un uno una l di a da in con su per tra fra del dello della dei degli delle al allo alla ai agli alle dal "
    "dalla nel nella nei sul sulla e ed ma o però quindi dunque poi allora così anche inoltre infine dopo prima questo questa questi "
    "queste quello quella egli lui lei noi voi loro io tu si non è che chi cosa come quando dove perché se suo sua suoi sue tutti",
    "pt": "o a os as um uma uns umas este esta isto estes estas esse essa isso aquele ele ela eles elas nós eu você e mas ou nem em no na "
    "nos nas de do da dos das ao à aos com sem por para pelo pela sobre entre desde até após segundo se quando como onde que quem qual "
    "depois antes então assim também além seu sua seus suas meu minha não sim já",
    "nl": "de het een dit dat deze die hij zij ze wij we jij je ik u en maar of want dus toen dan daarna daarom ook nog al nu hier daar er "
    "in op aan bij met naar van voor om over onder door tegen zonder na sinds tot als wanneer hoe wat wie waar waarom zijn haar hun",
    "pl": "a ale i lub więc potem wtedy teraz to ten ta te ci tam tu on ona ono oni one ja ty my wy nie tak w we z ze na do od po przed "
    "przy za dla o u jak gdy kiedy jeśli jeżeli że co kto gdzie dlaczego już jeszcze tylko także również jednak po podczas według jego jej "
    "ich nasz wasz mój twój wszystko wszyscy każdy żaden może będzie był była było jest są ma miał dzięki oraz zaś natomiast dlatego",
    "ru": "а но и или затем потом тогда теперь это этот эта эти там тут здесь он она оно они я ты мы вы не да нет в во с со на до от по "
    "перед при за для о об у к ко из как когда если что кто где почему уже ещё еще только также однако после во время его её ее их наш "
    "ваш мой твой все всё каждый может был была было были есть так поэтому кроме более в этом при этом",
}


@dataclass(frozen=True)
class Abbreviations:
    """Of one language; all in lower case."""

    never: frozenset  # a full stop after these never ends a sentence
    before_number: frozenset  # nor after these before a number
    maybe: frozenset  # after these it does where one of `starters` follows; in a language without them, where no lower case does
    ends: frozenset  # after these it does, wherever no lower case follows
    starters: frozenset


@cache
def abbreviations(language):
    """The Abbreviations of a language; one that has no table of its own has the English ones."""
    tables = _NEVER, _BEFORE_NUMBER, _MAYBE, _ENDS, _STARTERS
    known = any(language in table for table in tables[:3])
    own = language if known else "en"
    never, before_number, maybe, ends, starters = (
        frozenset(f"{table.get('any', '')} {table.get(own, '')}".split()) for table in tables
    )
    return Abbreviations(never - maybe, before_number, maybe, ends, starters)
