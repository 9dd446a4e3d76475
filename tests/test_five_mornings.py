"""Five mornings of the sample district, as whoever reads the mail meets them."""

from __future__ import annotations

from pathlib import Path

from bed import standard_bed
from demo import five_mornings
from mail_server import Mail, MailServer

MAYA = "Maya Patel, maya.patel@d118.org (DCID 201)"


def subject(mail: Mail) -> str:
    return str(mail.message["Subject"])


def test_five_mornings(tmp_path: Path) -> None:
    with MailServer(tmp_path, security="starttls") as server, standard_bed(tmp_path / "bed") as bed:
        nights = {day.partition(",")[0]: (outcome, mails) for day, outcome, mails in five_mornings(bed, server)}

    first, (mail,) = nights["day 1"]
    assert first.exit_code == 1
    # Everybody of whom something is told: 24 people with an ERROR, a lost owner and three new passwords.
    assert subject(mail).startswith("Staff Sync: 28 new, 28 open, ")
    assert "Standing problems" not in mail.part("plain")

    second, mails = nights["day 2"]
    assert (second.writes, mails) == ([], [])
    assert "Needs attention: 24 people, none of them new: see above." in second.output

    third, (mail,) = nights["day 3"]
    assert third.since(201)[0] == "new"
    assert subject(mail) == "Staff Sync: 1 new, 28 open, 0 changed, 0 held"
    text = mail.part("plain")
    top = text[: text.index("Standing problems")]
    assert top.index("New problems 1") < top.index(f"{MAYA}: locked out: ")
    assert len(top.splitlines()) < 12, "ten seconds"

    fourth, (mail,) = nights["day 4"]
    assert fourth.writes == []
    assert subject(mail) == "Staff Sync: 0 new, 28 open, 0 changed, 0 held, 1 solved"
    assert f"Solved problems 1\n- {MAYA}: locked out" in mail.part("plain")

    fifth, (mail,) = nights["day 5"]
    assert fifth.exit_code == 2
    assert subject(mail).startswith("Staff Sync DID NOT RUN: PowerSchool"), subject(mail)
    assert "127.0.0.1" not in subject(mail)
    assert "The last good run before this one: " in mail.part("plain")
    assert "Nothing was changed." in mail.part("plain")
