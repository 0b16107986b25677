# Words for the scripts of the cases. Everything that they print is part of the transcript.
set -u

# Run a command and show it, what it prints, and how it ends unless that is 0.
trace() {
    printf '$ %s\n' "$*"
    local code=0
    "$@" < /dev/null || code=$?
    [ "$code" = 0 ] || printf 'exit code %s\n' "$code"
    printf '\n'
}

# A line that says what the next part shows.
title() { printf '== %s\n\n' "$*"; }

# Requests since the last time.
requests() {
    printf '> requests\n'
    [ -f "$PLATFORM/requests.log" ] && cat "$PLATFORM/requests.log"
    rm -f "$PLATFORM/requests.log"
    printf '\n'
}

# Make the platform misbehave; see lying_platform.py.
fault() { printf '%s\n' "$*" >> "$PLATFORM/faults"; printf '> fault %s\n\n' "$*"; }
no_faults() { rm -f "$PLATFORM/faults"; }

# The ids of all jobs, newest first, as somebody sees them who looks at the platform.
job_ids() {
    python - <<'END'
import json, os, urllib.request

url = os.environ["ATAI_API_ENDPOINT"] + "/v0.5/batch/jobs"
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + os.environ["ATAI_API_KEY"]})
print(*(job["id"] for job in json.load(urllib.request.urlopen(request))["jobs"]))
END
}

# The working directory as a git repository, with a first commit by Ann Author; its ids are the same in every run.
repository() {
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
    export GIT_AUTHOR_NAME="Ann Author" GIT_AUTHOR_EMAIL=ann@example.com GIT_AUTHOR_DATE=2026-01-01T00:00:00Z
    export GIT_COMMITTER_NAME="Carl Committer" GIT_COMMITTER_EMAIL=carl@example.com
    export GIT_COMMITTER_DATE=2026-01-01T00:00:00Z
    git init --quiet --initial-branch main
    git remote add origin "$1"
    commit "first"
}
commit() { git add specs && git commit --quiet --allow-empty --message "$1"; }

# Where a job comes from, without what `status` shows too and without its history.
origin() {
    printf '$ reconciler explain %s\n' "$1"
    reconciler explain "$1" | sed -E '/^  (status|version|fingerprint) /d; /^All /,/^$/d'
    printf '\n'
}
