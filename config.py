"""The settings of your district: the one file you edit. It comes with those of District 118: put yours in their place.

Every value is plain Python: text in quotes, lists in [], True or False. `python sync.py --check` looks at all of
them at once and names every fault. Passwords do not belong here: they come from environment variables.
"""

# The e-mail domains Staff Sync may write. An address in PowerSchool outside these is never given to an account.
GOOGLE_DOMAINS = ["d118.org"]

# Where staff live. A building's org unit is STAFF_OU/<School Name> plus the suffix,
# for example "/D118 Staff/Wauconda High School Staff".
STAFF_OU = "/D118 Staff"
BUILDING_OU_SUFFIX = " Staff"

# School number -> org unit, for buildings that the rule above does not fit.
# Example: {133: "/D118 Staff/Transportation"}
BUILDING_OUS: dict[int, str] = {}

# Substitutes: people whose staff type at their home school is 4, or whose home school is this building.
SUBSTITUTE_OU = "/Substitute Teachers"
SUBSTITUTE_BUILDING = "Substitute"

# Where closed accounts go. People who come back are reactivated only from exactly this org unit;
# the org units below it are the place for people who must stay locked.
SUSPENDED_OU = "/Suspended Accounts"

# Accounts in these are kept up to date but never moved (unless the person leaves). Matched anywhere in the path:
# "/Administrators" also covers "/D118 Staff/Administrators/Payroll", but not "/Administrators Archive".
FROZEN_OUS = ["/Administrators"]

# Accounts in or below these are neither suspended nor moved: for leavers who may come in for a while.
TEMPORARY_REACTIVATION_OUS = ["/Temporary Re-Activations"]

# Accounts in or below these are never written to, whatever PowerSchool says.
PROTECTED_OUS = ["/Students"]

# Single accounts never to write, not by an undo either: address or DCID -> (why, until which day). After that day
# you are reminded.
# Example: {"pat.lee@d118.org": ("on leave, asked by HR", "2027-06-30")}
HANDS_OFF: dict[str, tuple[str, str]] = {}

# People in PowerSchool who are not people. A first name, a last name or "first last" that equals an entry is
# skipped. Keep surnames such as Do, Nurse or Test out of it.
BAD_NAMES = ["training1", "plugin", "do not use", "test teacher", "test user", "dummy staff", "tbd"]

# True: skip people whose address is all digits before the @ (student workers).
SKIP_NUMERIC_EMAILS = True

# Google custom schema -> field -> which value of a person it holds. Values: dcid, homeschool_id,
# school_access_list, staff_type, staff_group, teacher_number, building, and the names in EXTENSION_COLUMNS.
# Exactly one field holds dcid. A district without CrisisGO deletes that line and nothing else.
CUSTOM_SCHEMAS = {
    "Synchronization_Data": {
        "DCID": "dcid",
        "Homeschool_ID": "homeschool_id",
        "School_Access_List": "school_access_list",
        "Staff_Type": "staff_type",
        "Staff_Group": "staff_group",
    },
    "CrisisGO": {"Building": "building", "CellPhone": "cell_phone"},
}

# Values from PowerSchool extension tables: a name of your own -> "table.column". {} where you have none; then take
# the name out of CUSTOM_SCHEMAS and PRIVATE_VALUES too.
EXTENSION_COLUMNS = {"cell_phone": "u_humanresources.cellphone"}

# "PS" where the database login has no synonyms (the error ORA-00942 says so), otherwise "".
POWERSCHOOL_SCHEMA = ""

# Home school number -> the building name shown in CrisisGO, where it is not the school's own name. {} where there are
# no such schools; 0 is the district office.
BUILDING_ALIASES = {
    0: "Wauconda High School",
    131: "Wauconda High School",
    133: "Wauconda High School",
    134: "Wauconda High School",
    135: "Wauconda High School",
}

# True: the teacher number becomes the Employee ID of the Google account.
SET_EMPLOYEE_ID = True

# True: an account without a DCID that holds a person's address, and is the same person beyond doubt, gets the DCID.
LINK_BY_EMAIL = True

# False: a name follows PowerSchool only together with a change of address. True: whenever it differs.
UPDATE_NAMES = False

# True: PREFERREDNAME in PowerSchool, where filled, is the first name.
PREFERRED_FIRST_NAME = False

# True: people who leave lose their group memberships (each one is kept in the journal with its role).
REMOVE_SUSPENDED_FROM_GROUPS = True

# The most people of each kind in one run. One more than this, and nobody of that kind is changed: the run names
# them and the command that lets them through. "clear" is a value that is emptied because PowerSchool lost it.
LIMITS = {
    "create": 50,
    "link": 50,
    "rename": 10,
    "name": 10,
    "move": 100,
    "suspend": 10,
    "reactivate": 10,
    "move to suspended": 25,
    "clear": 25,
}

# Values shown as (private) on the screen and in the log. The journal in runs/ keeps them, for the job's
# account alone.
PRIVATE_VALUES = ["cell_phone"]

# Days of the year on which nobody is suspended, both ends included: month-day pairs.
# Example for the summer: [("06-10", "08-20")]
HOLD_SUSPENSIONS: list[tuple[str, str]] = []

# Of the staff with an open account no more than this share is suspended in one run, whatever LIMITS says: 0.2 is a
# fifth. Three people always may be.
LIMIT_SHARE = 0.2

# How many days the journals and logs in runs/ are kept.
KEEP_DAYS = 400

# A request to Google or a round trip to PowerSchool may take this many seconds.
TIMEOUT_SECONDS = 60

# A request Google could not serve is tried again after about this many seconds, then twice as many, and so on ...
RETRY_WAIT_SECONDS = 1

# ... for this many seconds in all.
RETRY_SECONDS = 120

# A run that takes longer than this many minutes stops before the next person; the next run does the rest.
RUN_MINUTES = 120

# So many people are worked on side by side; 1 is one after the other.
WRITES_AT_ONCE = 8

# Who gets a mail in the morning, such as ["it@d118.org"]; [] for no mail. It then needs MAIL_FROM and SMTP_HOST too.
# A server that wants a sign-in gets it from the environment variables SMTP_USER and SMTP_PASSWORD.
MAIL_TO: list[str] = []

# The address the mail comes from: one that your mail server may send for.
MAIL_FROM = ""

# "news": when something is new, changed, held, solved or failed, and on Mondays what stands.
# "problems": the same, but not for what was only changed or solved. "always": after every run.
MAIL_WHEN = "news"

# The mail server, its port, and how the way to it is protected: "starttls" (usual with port 587), "tls" (usual with
# 465), or "none" (usual with 25, from inside), with which no password is ever sent.
SMTP_HOST = ""
SMTP_PORT = 587
SMTP_SECURITY = "starttls"

# When no run has been good for more hours than this, --check warns of it.
EXPECT_RUN_HOURS = 26
