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
