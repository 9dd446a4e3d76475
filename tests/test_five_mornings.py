"""Five mornings of the sample district, as whoever reads the mail meets them."""

from __future__ import annotations

from pathlib import Path

from bed import Bed, Outcome, standard_bed
from district import build
from mail_server import Mail, MailServer

NEW = 201, "maya.patel@d118.org"


def night(bed: Bed, server: MailServer, **environment: str | None) -> tuple[Outcome, list[Mail]]:
    """One run, and the mails that it sent."""
    before = len(server.mails)
    outcome = bed.run(env=environment)
    return outcome, server.mails[before:]


def subject(mail: Mail) -> str:
    return str(mail.message["Subject"])


def test_five_mornings(tmp_path: Path) -> None:
    with MailServer(tmp_path, security="starttls") as server, standard_bed(tmp_path / "bed") as bed:
        build(bed)
        bed.settings |= {**server.settings(), "MAIL_WHEN": "news"}
        bed.environment |= server.environment()

        first, (mail,) = night(bed, server)
        assert first.exit_code == 1
        # Everybody on whom something is told: 24 people with an ERROR, a lost owner and three new passwords.
        assert subject(mail).startswith("Staff Sync: 28 new, 28 open, ")
        assert "STILL OPEN" not in mail.part("plain")

        second, mails = night(bed, server)
        assert (second.writes, mails) == ([], [])
        assert "Needs attention: 24 people, none of them new: see above." in second.output

        # On the third day somebody locks Maya's account.
        account = bed.google.users[bed.google.user(NEW[1])["id"]]
        account |= {"suspended": True, "suspensionReason": "ABUSE"}
        third, (mail,) = night(bed, server)
        assert third.since(NEW[0])[0] == "new"
        assert subject(mail) == "Staff Sync: 1 new, 28 open, 0 changed, 0 held"
        text = mail.part("plain")
        top = text[: text.index("STILL OPEN")]
        assert (
            top.index("NEW: 1") < top.index(f"locked out: Maya Patel, {NEW[1]} (DCID 201)") < top.index("What to do: ")
        )
        assert len(top.splitlines()) < 12, "ten seconds"

        del account["suspensionReason"]
        account["suspended"] = False
        fourth, (mail,) = night(bed, server)
        assert fourth.writes == []
        assert subject(mail) == "Staff Sync: 0 new, 28 open, 0 changed, 0 held, 1 solved"
        assert "SOLVED: 1\n- locked out: Maya Patel" in mail.part("plain")

        fifth, (mail,) = night(bed, server, POWERSCHOOL_PROD_DB="127.0.0.1:9/PSPRODDB")
        assert fifth.exit_code == 2
        assert subject(mail).startswith("Staff Sync DID NOT RUN: PowerSchool"), subject(mail)
        assert "127.0.0.1" not in subject(mail)
        assert "The last good run before this one: " in mail.part("plain")
        assert "Nothing was changed." in mail.part("plain")
