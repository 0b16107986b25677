"""What click prints: written by tests/unit/test_quick.py, see `quick`."""

# fmt: off
# ruff: noqa: RUF005
HELP = {
    80: """\
Usage: reconciler [OPTIONS] COMMAND [ARGS]...

  Declarative batch jobs: specs in git, a plan to review, one job for each
  spec.

  Write job specs in specs/, look at 'reconciler plan', and submit with
  'reconciler apply'. A second apply does nothing. The API key is read from
  ATAI_API_KEY; '--endpoint local' needs none and runs everything on this
  machine.

Options:
  -C DIR                          Work in DIR.
  --version                       Show the version and exit.
  --endpoint URL                  The platform's base URL, or 'local': the
                                  embedded service, in this process.
  --environment NAME              One of the environments in reconciler.yaml.
  --state PLACE                   A file, or git:, s3://…, gs://…, az://…,
                                  https://…  [default: .reconciler/state.json]
  --format [text|json|markdown|codequality|junit|github|sarif]
                                  What stdout carries; text and json
                                  everywhere, the others where a command says
                                  so.  [default: text]
  -q, --quiet                     Neither progress nor hints on stderr.
  -v, --verbose                   Progress on stderr, also without a terminal.
  --timeout DURATION              Patience with a platform, or a shared state,
                                  that does not answer.  [default: 60s]
  --lock-timeout DURATION         How long to wait for the lock.  [default:
                                  0s]
  --parallelism N                 Requests in flight.  [default: 16]
                                  [1<=x<=256]
  --allow-endpoint-change         Let the state belong to this endpoint from
                                  now on.
  -h, --help                      Show this message and exit.

Commands:
  apply      Show the plan, ask, and carry it out.
  cancel     Cancel jobs on the platform, and keep their records.
  events     Show the event log of a job, oldest first.
  explain    Show where a job comes from, what changed since the job...
  import     Record an existing job as the job of a spec.
  init       Write a starter set: a spec that runs, reconciler.yaml, and...
  outputs    List the results of a job; with --download, fetch them.
  pipelines  The platform's pipelines, and snapshots of them for 'validate'.
  plan       Show what apply would do, and why.
  render     Print the resolved requests: what would be submitted for...
  retry      Run jobs again that FAILED or were CANCELLED, also beyond...
  run        Apply the specs again and again, until a signal.
  schema     Print a JSON Schema: of specs (the default), of...
  serve      Run the embedded batch service on a port of its own.
  settle     Settle submissions whose outcome is unknown.
  state      What is recorded, and how to mend it.
  status     Observe jobs in flight, write it back, and show all jobs, or...
  validate   Find every fault in the specs, with file, line and column.
  wait       Wait until all jobs, or those named, have ended.

  Exit codes: 0 done, or nothing to do; 1 failed or refused; 2 changes are
  pending (plan --detailed-exitcode); 3 invalid specs; 4 jobs ended FAILED or
  CANCELLED; 5 try again later; 6 the outcome of a submission is unknown; 64
  wrong usage; 70 a bug; 130 and 143 interrupted. Each option can be set as
  RECONCILER_OPTION or RECONCILER_COMMAND_OPTION.
""",
    110: """\
Usage: reconciler [OPTIONS] COMMAND [ARGS]...

  Declarative batch jobs: specs in git, a plan to review, one job for each spec.

  Write job specs in specs/, look at 'reconciler plan', and submit with 'reconciler apply'. A second apply
  does nothing. The API key is read from ATAI_API_KEY; '--endpoint local' needs none and runs everything on
  this machine.

Options:
  -C DIR                          Work in DIR.
  --version                       Show the version and exit.
  --endpoint URL                  The platform's base URL, or 'local': the embedded service, in this
                                  process.
  --environment NAME              One of the environments in reconciler.yaml.
  --state PLACE                   A file, or git:, s3://…, gs://…, az://…, https://…  [default:
                                  .reconciler/state.json]
  --format [text|json|markdown|codequality|junit|github|sarif]
                                  What stdout carries; text and json everywhere, the others where a command
                                  says so.  [default: text]
  -q, --quiet                     Neither progress nor hints on stderr.
  -v, --verbose                   Progress on stderr, also without a terminal.
  --timeout DURATION              Patience with a platform, or a shared state, that does not answer.
                                  [default: 60s]
  --lock-timeout DURATION         How long to wait for the lock.  [default: 0s]
  --parallelism N                 Requests in flight.  [default: 16]  [1<=x<=256]
  --allow-endpoint-change         Let the state belong to this endpoint from now on.
  -h, --help                      Show this message and exit.

Commands:
  apply      Show the plan, ask, and carry it out.
  cancel     Cancel jobs on the platform, and keep their records.
  events     Show the event log of a job, oldest first.
  explain    Show where a job comes from, what changed since the job before, and what the next plan...
  import     Record an existing job as the job of a spec.
  init       Write a starter set: a spec that runs, reconciler.yaml, and a CI workflow.
  outputs    List the results of a job; with --download, fetch them.
  pipelines  The platform's pipelines, and snapshots of them for 'validate'.
  plan       Show what apply would do, and why.
  render     Print the resolved requests: what would be submitted for NAME, or for every spec.
  retry      Run jobs again that FAILED or were CANCELLED, also beyond the attempts of their specs.
  run        Apply the specs again and again, until a signal.
  schema     Print a JSON Schema: of specs (the default), of reconciler.yaml, of a plan or an...
  serve      Run the embedded batch service on a port of its own.
  settle     Settle submissions whose outcome is unknown.
  state      What is recorded, and how to mend it.
  status     Observe jobs in flight, write it back, and show all jobs, or those named.
  validate   Find every fault in the specs, with file, line and column.
  wait       Wait until all jobs, or those named, have ended.

  Exit codes: 0 done, or nothing to do; 1 failed or refused; 2 changes are pending (plan --detailed-
  exitcode); 3 invalid specs; 4 jobs ended FAILED or CANCELLED; 5 try again later; 6 the outcome of a
  submission is unknown; 64 wrong usage; 70 a bug; 130 and 143 interrupted. Each option can be set as
  RECONCILER_OPTION or RECONCILER_COMMAND_OPTION.
""",
}
COMMANDS = {'apply': 'Show the plan, ask, and carry it out.',
 'cancel': 'Cancel jobs on the platform, and keep...',
 'events': 'Show the event log of a job, oldest first.',
 'explain': 'Show where a job comes from, what changed...',
 'import': 'Record an existing job as the job of a spec.',
 'init': 'Write a starter set: a spec that runs,...',
 'outputs': 'List the results of a job; with...',
 'pipelines': "The platform's pipelines, and snapshots of...",
 'plan': 'Show what apply would do, and why.',
 'render': 'Print the resolved requests: what would be...',
 'retry': 'Run jobs again that FAILED or were...',
 'run': 'Apply the specs again and again, until a...',
 'schema': 'Print a JSON Schema: of specs (the...',
 'serve': 'Run the embedded batch service on a port...',
 'settle': 'Settle submissions whose outcome is unknown.',
 'state': 'What is recorded, and how to mend it.',
 'status': 'Observe jobs in flight, write it back, and...',
 'validate': 'Find every fault in the specs, with file,...',
 'wait': 'Wait until all jobs, or those named, have...'}
_COMMON = [('--endpoint', "The platform's base URL, or 'local': the embedded service, in this process."),
 ('--environment', 'One of the environments in reconciler.yaml.'),
 ('--state', 'A file, or git:, s3://…, gs://…, az://…, https://…  [default: .reconciler/state.json]'),
 ('--format',
  'What stdout carries; text and json everywhere, the others where a command says so.  [default: text]'),
 ('-q', 'Neither progress nor hints on stderr.'),
 ('--quiet', 'Neither progress nor hints on stderr.'),
 ('-v', 'Progress on stderr, also without a terminal.'),
 ('--verbose', 'Progress on stderr, also without a terminal.'),
 ('--timeout', 'Patience with a platform, or a shared state, that does not answer.  [default: 60s]'),
 ('--lock-timeout', 'How long to wait for the lock.  [default: 0s]'),
 ('--parallelism', 'Requests in flight.  [default: 16]'),
 ('--allow-endpoint-change', 'Let the state belong to this endpoint from now on.'),
 ('-h', 'Show this message and exit.'),
 ('--help', 'Show this message and exit.')]
OPTIONS = {
    'apply': [('--prune', 'Cancel and forget jobs whose spec is gone.'),
 ('--replace', 'Submit this job anew, or those that fit a glob; can be repeated.'),
 ('--target', 'Only this job, or a glob; can be repeated.'),
 ('--adopt', 'On a first run, take over identical jobs.  [default: adopt]'),
 ('--no-adopt', 'On a first run, take over identical jobs.  [default: adopt]'),
 ('--allow-empty', 'Accept a folder without specs: every job is an orphan then.'),
 ('--max-submissions',
  'Refuse to submit more jobs than this, or than this share of those recorded.  [default: none]'),
 ('--max-cancellations',
  'Refuse to cancel more jobs than this, or than this share of those in flight.  [default: none]'),
 ('--unprotect', 'Let this protected job be cancelled, replaced or forgotten; can be repeated.'),
 ('--plan', 'Carry out a saved plan, exactly, or refuse.'),
 ('--yes', 'Do not ask.'),
 ('--wait', 'Stay until every job has ended.'),
 ('--report', 'Write an HTML page about this run; it needs no network.')] + _COMMON,
    'cancel': [('--max-cancellations',
  'Refuse to cancel more jobs than this, or than this share of those in flight.  [default: none]'),
 ('--unprotect', 'Let this protected job be cancelled, replaced or forgotten; can be repeated.'),
 ('--yes', 'Do not ask.')] + _COMMON,
    'events': _COMMON,
    'explain': _COMMON,
    'import': [('--all', 'Look for the jobs of all specs, or of NAMEs, on the platform.'),
 ('--force', 'Also when its parameters or inputs are not those of the spec.'),
 ('--yes', 'Do not ask.')] + _COMMON,
    'init': [('--ci', 'What CI the workflow is for.  [default: what the repository looks like]'),
 ('--source', 'The repository that CI takes reconciler from.  [default: where this one was installed from]')] + _COMMON,
    'outputs': [('--download', 'Write the files into DIR, and go on where it was cut off.')] + _COMMON,
    'pipelines': [('-h', 'Show this message and exit.'), ('--help', 'Show this message and exit.')],
    'plan': [('--prune', 'Cancel and forget jobs whose spec is gone.'),
 ('--replace', 'Submit this job anew, or those that fit a glob; can be repeated.'),
 ('--target', 'Only this job, or a glob; can be repeated.'),
 ('--adopt', 'On a first run, take over identical jobs.  [default: adopt]'),
 ('--no-adopt', 'On a first run, take over identical jobs.  [default: adopt]'),
 ('--allow-empty', 'Accept a folder without specs: every job is an orphan then.'),
 ('--max-submissions',
  'Refuse to submit more jobs than this, or than this share of those recorded.  [default: none]'),
 ('--max-cancellations',
  'Refuse to cancel more jobs than this, or than this share of those in flight.  [default: none]'),
 ('--unprotect', 'Let this protected job be cancelled, replaced or forgotten; can be repeated.'),
 ('--refresh', 'Ask the platform about jobs in flight.  [default: refresh]'),
 ('--no-refresh', 'Ask the platform about jobs in flight.  [default: refresh]'),
 ('--out', "Save the plan for 'apply --plan FILE'."),
 ('--detailed-exitcode', 'Exit with 2 when changes are pending.'),
 ('--report', 'Write an HTML page about this run; it needs no network.')] + _COMMON,
    'render': _COMMON,
    'retry': [('--max-submissions',
  'Refuse to submit more jobs than this, or than this share of those recorded.  [default: none]'),
 ('--yes', 'Do not ask.')] + _COMMON,
    'run': [('--repository', 'Follow this git repository, not the folder.'),
 ('--branch', 'The branch of it to follow.  [default: main]'),
 ('--checkout', 'Where the clone of it is kept, and worked in.  [default: .reconciler/checkout]'),
 ('--interval', 'Time between two rounds.'),
 ('--listen',
  "Where /healthz, /readyz, /metrics and /hook are answered, or 'none'; port 0 takes a free one."),
 ('--hung-after', 'How long /healthz bears no progress.'),
 ('--log-format', 'What stderr carries.'),
 ('--prune', 'Cancel and forget jobs whose spec is gone.'),
 ('--adopt', 'On a first run, take over identical jobs.  [default: adopt]'),
 ('--no-adopt', 'On a first run, take over identical jobs.  [default: adopt]'),
 ('--allow-empty', 'Accept a folder without specs: every job is an orphan then.'),
 ('--max-submissions',
  'Refuse to submit more jobs than this, or than this share of those recorded.  [default: none]'),
 ('--max-cancellations',
  'Refuse to cancel more jobs than this, or than this share of those in flight.  [default: none]'),
 ('--lock-timeout',
  'How long a round waits for the lock.  [default, and at least: 10s; with a shared state a lease more]'),
 ('--endpoint', "The platform's base URL, or 'local': the embedded service, in this process."),
 ('--environment', 'One of the environments in reconciler.yaml.'),
 ('--state', 'A file, or git:, s3://…, gs://…, az://…, https://…  [default: .reconciler/state.json]'),
 ('-q', 'Neither progress nor hints on stderr.'),
 ('--quiet', 'Neither progress nor hints on stderr.'),
 ('-v', 'Progress on stderr, also without a terminal.'),
 ('--verbose', 'Progress on stderr, also without a terminal.'),
 ('--timeout', 'Patience with a platform, or a shared state, that does not answer.  [default: 60s]'),
 ('--parallelism', 'Requests in flight.  [default: 16]'),
 ('--allow-endpoint-change', 'Let the state belong to this endpoint from now on.'),
 ('-h', 'Show this message and exit.'),
 ('--help', 'Show this message and exit.')],
    'schema': _COMMON,
    'serve': [('--host', 'The address to listen on.'),
 ('--port', 'The port; 0 takes a free one.'),
 ('--data', 'Where jobs and files are kept.'),
 ('--capacity', 'Worker processes at a time.  [default: cores]'),
 ('--pipelines', 'A folder of your own pipelines.'),
 ('--keys', 'Keys of several organisations, lines of NAME: KEY. What one has, the others do not see.'),
 ('--rate-limit', 'Requests a second for each key.  [default: no limit]'),
 ('--log-format', "What stderr carries; 'json': an object a line, also for each request."),
 ('--faults', 'For tests of clients: rules that refuse, delay, drop, truncate or garble answers.'),
 ('--engine', "Where jobs run: on this machine, or on the Slurm cluster that 'sbatch' submits to."),
 ('--shared',
  'slurm: the folder for files and jobs that the cluster sees under the same path.  [default: --data]'),
 ('--slurm-partition',
  "slurm: where jobs of at least this priority go; may be repeated.  [default: the cluster's]"),
 ('--slurm-account', 'slurm: the account that jobs are charged to.'),
 ('--slurm-option', 'slurm: one more option of sbatch; may be repeated.'),
 ('--slurm-lease', 'slurm: how long a job may give no sign of life before it is given up and runs again.')] + _COMMON,
    'settle': [('--not-submitted', 'There is no job: the next apply submits it.')] + _COMMON,
    'state': [('-h', 'Show this message and exit.'), ('--help', 'Show this message and exit.')],
    'status': [('--refresh', 'Ask the platform, or show what is recorded.'),
 ('--no-refresh', 'Ask the platform, or show what is recorded.'),
 ('--report', 'Write an HTML page about this run; it needs no network.')] + _COMMON,
    'validate': [('--explain', 'Say what a diagnostic code means, with an example; reads no specs.')] + _COMMON,
    'wait': [('--timeout', 'Stop waiting after this long, with exit code 5; jobs go on.'),
 ('--fail-fast', 'Stop waiting when one job has FAILED or was CANCELLED.'),
 ('--report', 'Write an HTML page about this run; it needs no network.'),
 ('--endpoint', "The platform's base URL, or 'local': the embedded service, in this process."),
 ('--environment', 'One of the environments in reconciler.yaml.'),
 ('--state', 'A file, or git:, s3://…, gs://…, az://…, https://…  [default: .reconciler/state.json]'),
 ('--format',
  'What stdout carries; text and json everywhere, the others where a command says so.  [default: text]'),
 ('-q', 'Neither progress nor hints on stderr.'),
 ('--quiet', 'Neither progress nor hints on stderr.'),
 ('-v', 'Progress on stderr, also without a terminal.'),
 ('--verbose', 'Progress on stderr, also without a terminal.'),
 ('--lock-timeout', 'How long to wait for the lock.  [default: 0s]'),
 ('--parallelism', 'Requests in flight.  [default: 16]'),
 ('--allow-endpoint-change', 'Let the state belong to this endpoint from now on.'),
 ('-h', 'Show this message and exit.'),
 ('--help', 'Show this message and exit.')],
}
