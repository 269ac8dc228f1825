"""The PGP word list, against published examples."""

from sealwright.ceremony.words import EVEN, ODD, ends, same_words, spell, spell_hex


def test_the_published_example() -> None:
    # https://en.wikipedia.org/wiki/PGP_word_list
    assert " ".join(spell_hex("E58294F2E9A227486E8B061B31CC528FD7FA3F19")) == (
        "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa "
        "afflict bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless"
    )


def test_a_second_example() -> None:
    assert " ".join(spell_hex("12b4b0057400076fa5c0f5cbf726ac65")) == (
        "atlas politeness ruffled almighty indoors adroitness ahead hemisphere "
        "reindeer recipe vapor revival virus caretaker ribcage glossary"
    )


def test_both_lists_are_whole_sorted_and_share_no_word() -> None:
    for words in (EVEN, ODD):
        assert len(words) == len(set(words)) == 256
        plain = [word.casefold() for word in words if word != "applicant"]  # the one that is out of order, in 1995
        assert plain == sorted(plain)
    assert not set(EVEN) & set(ODD)


def test_the_four_corners() -> None:
    assert spell(b"\x00\x00\xff\xff") == ("aardvark", "adroitness", "Zulu", "Yucatan")


def test_what_is_typed_back_is_the_first_and_last_words() -> None:
    digest = "e582" + "00" * 28 + "3f19"
    assert ends(digest, each=2) == "topmost Istanbul cowbell bottomless"
    assert same_words("  TOPMOST istanbul  Cowbell bottomless ", ends(digest, each=2))
    assert not same_words("topmost Istanbul cowbell", ends(digest, each=2))
