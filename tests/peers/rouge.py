"""Writes tests/fixtures/rouge.json: scores of Google's rouge-score, with and without the stemmer.

    python tests/peers/rouge.py > tests/fixtures/rouge.json          (pip install rouge-score==0.1.2)
"""

import json
import random

from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer

TYPES = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]
STEMS = """caresses ponies ties dies caress cats feed agreed plastered bled motoring sing conflated troubled sized
hopping tanned falling hissing fizzed failing filing happy sky skies enjoy enjoyment spied died tried relational
conditional rational valenci hesitanci digitizer conformabli radicalli differentli vileli analogousli
vietnamization predication operator feudalism decisiveness hopefulness callousness formaliti sensitiviti
sensibiliti triplicate formative formalize electriciti electrical hopeful goodness revival allowance inference
airliner gyroscopic adjustable defensible irritant replacement adjustment dependent adoption homologou communism
activate angulariti homologous effective bowdlerize probate rate cease controll roll geology theology archaeology
hopefully carefully usually globally dying lying tying news innings outing cannings howe proceed exceed succeed
yyyyyy yayayy syzygy by sprayed using ated eed ing ied eied aed 2000s 3rd4ing ions mission station option abli
ably generalization oscillators nationalities ox axed owed played wowing boxing fuzzing buzzed telling""".split()


def pairs():
    fixed = [
        ("", ""), ("", "a"), ("a", ""), ("...", "a b"), ("a", "a"), ("A b C", "a B c"),
        ("The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log."),
        ("the the the the", "the the"), ("the cat", "the the the cat cat"),
        ("don't can't won't", "dont cant wont"), ("state-of-the-art", "state of the art"),
        ("1,234.56", "1 234 56"), ("v2.0 is out", "V2 0 is out!"), ("e-mail: a_b@c.d", "e mail a b c d"),
        ("café naïve", "cafe naive"), ("Straße", "strasse"), ("İstanbul", "istanbul"), ("K elvin", "k elvin"),
        ("こんにちは 世界", "こんにちは 世界"), ("Москва is big", "Moscow is big"), ("ﬁne", "fine"),
        ("emoji 🎉 party", "emoji party 🎉🎉"), ("tab\tand\nnewline\r\nhere", "tab and newline here"),
        ("one two three four five", "five four three two one"), ("a b a b a", "b a b a b"),
        ("running runners ran easily", "run runner runs easy"), ("nationalities", "national"),
        ("first line.\nsecond line.", "second line.\nfirst line."), ("a\n\n\nb", "a b"), ("a b\nb c\nc d", "b c d\na"),
        ("w1 w2 w3 w4 w5", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5"), ("x x y\ny x", "y x x\nx y y x"),
        ("...\n!!!", "a"), ("\n", "\n\n"), ("yes", "no"), ("    ", "word"),
        ("I must decline this request.", "I am sorry, but I must decline."),
    ]
    random.seed(0)
    words = "bake baking baked baker flour flours water mix mixes mixed mixing the a then and oven ovens heat".split()
    for count in (3, 8, 20, 60, 150, 400):
        for _ in range(2):
            text = lambda: "".join(random.choice(words) + random.choice("   \n,.") for _ in range(count))
            fixed.append((text(), text()))
    return fixed


def main():
    scorers = {stem: rouge_scorer.RougeScorer(TYPES, use_stemmer=stem) for stem in (False, True)}
    cases = []
    for reference, response in pairs():
        case = {"reference": reference, "response": response}
        for stem, scorer in scorers.items():
            scores = scorer.score(reference, response)
            case["porter" if stem else "none"] = {name: list(map(float, scores[name])) for name in TYPES}
        cases.append(case)
    stemmer = PorterStemmer()
    print(json.dumps({"cases": cases, "stems": {word: stemmer.stem(word) for word in STEMS}}, indent=0))


main()
