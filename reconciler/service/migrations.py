"""The scripts that bring a database file from one version to the next."""

# One script a version; `PRAGMA user_version` says how many of them a file has seen. Never edit one that was released.
MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('next_ticket', '1');

    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        pipeline_type TEXT NOT NULL,
        pipeline_key TEXT NOT NULL,
        pipeline_version TEXT NOT NULL,
        status TEXT NOT NULL,
        parameters TEXT NOT NULL,
        ticket INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        retry_count INTEGER NOT NULL DEFAULT 0,
        preemption_count INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        started_at TEXT,
        completed_at TEXT,
        failed_at TEXT,
        cancelled_at TEXT,
        error TEXT,
        idempotency_key TEXT UNIQUE,
        body_digest TEXT
    );
    CREATE INDEX jobs_status ON jobs(status, ticket);

    CREATE TABLE files (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        file_uid TEXT NOT NULL UNIQUE,
        file_id TEXT NOT NULL,
        file_type TEXT NOT NULL,
        num_bytes INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        created_at TEXT NOT NULL,
        current INTEGER NOT NULL DEFAULT 1
    );
    CREATE UNIQUE INDEX files_current ON files(file_id) WHERE current;

    CREATE TABLE inputs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        port_name TEXT NOT NULL,
        file_id TEXT NOT NULL,
        file_uid TEXT NOT NULL REFERENCES files(file_uid),
        metadata TEXT NOT NULL,
        status TEXT NOT NULL,
        error_message TEXT,
        created_at TEXT NOT NULL,
        completed_at TEXT
    );
    CREATE INDEX inputs_job ON inputs(job_id, status);
    CREATE INDEX inputs_file ON inputs(file_uid);

    CREATE TABLE outputs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        port_name TEXT NOT NULL,
        input_id TEXT,
        filename TEXT NOT NULL,
        file_type TEXT NOT NULL,
        num_bytes INTEGER NOT NULL,
        created_at TEXT NOT NULL
    );
    CREATE INDEX outputs_job ON outputs(job_id);

    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        event_type TEXT NOT NULL,
        level TEXT NOT NULL,
        message TEXT,
        payload TEXT NOT NULL,
        input_id TEXT,
        idx INTEGER,
        created_at TEXT NOT NULL
    );
    CREATE INDEX events_job ON events(job_id);

    CREATE TABLE progress (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        kind TEXT NOT NULL,
        step INTEGER NOT NULL,
        message TEXT,
        metrics TEXT NOT NULL,
        payload TEXT NOT NULL,
        input_id TEXT,
        idx INTEGER,
        created_at TEXT NOT NULL
    );
    CREATE INDEX progress_job ON progress(job_id);
    """,
    """
    CREATE TABLE organisations (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE) WITHOUT ROWID;
    INSERT INTO organisations SELECT value, 'default' FROM meta WHERE name = 'org_id';
    DELETE FROM meta WHERE name = 'org_id';

    CREATE TABLE jobs_2 (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        org_id TEXT NOT NULL REFERENCES organisations(id),
        name TEXT NOT NULL,
        pipeline_type TEXT NOT NULL,
        pipeline_key TEXT NOT NULL,
        pipeline_version TEXT NOT NULL,
        status TEXT NOT NULL,
        parameters TEXT NOT NULL,
        priority INTEGER NOT NULL DEFAULT 0,
        turn INTEGER NOT NULL,
        ticket INTEGER NOT NULL,
        not_before TEXT,
        attempt INTEGER NOT NULL DEFAULT 0,
        retry_count INTEGER NOT NULL DEFAULT 0,
        preemption_count INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        started_at TEXT,
        completed_at TEXT,
        failed_at TEXT,
        cancelled_at TEXT,
        error TEXT,
        idempotency_key TEXT,
        body_digest TEXT,
        UNIQUE (org_id, idempotency_key)
    );
    INSERT INTO jobs_2 (seq, id, org_id, name, pipeline_type, pipeline_key, pipeline_version, status, parameters,
            turn, ticket, attempt, retry_count, preemption_count, created_at, updated_at, started_at, completed_at,
            failed_at, cancelled_at, error, idempotency_key, body_digest)
        SELECT seq, id, (SELECT id FROM organisations), name, pipeline_type, pipeline_key, pipeline_version, status,
            parameters, ticket, ticket, attempt, retry_count, preemption_count, created_at, updated_at, started_at,
            completed_at, failed_at, cancelled_at, error, idempotency_key, body_digest
        FROM jobs;
    DROP TABLE jobs;
    ALTER TABLE jobs_2 RENAME TO jobs;
    CREATE INDEX jobs_newest ON jobs(org_id, seq);
    CREATE INDEX jobs_status ON jobs(status, org_id, seq);
    CREATE INDEX jobs_queue ON jobs(pipeline_type, priority, turn, ticket) WHERE status = 'PENDING';
    CREATE INDEX jobs_ready ON jobs(pipeline_type, priority DESC, turn, ticket)
        WHERE status = 'PENDING' AND not_before IS NULL;
    CREATE INDEX jobs_later ON jobs(not_before) WHERE status = 'PENDING' AND not_before IS NOT NULL;

    -- The last turn given out in a queue to each organisation; '' is the last one that was admitted.
    CREATE TABLE turns (
        pipeline_type TEXT NOT NULL,
        priority INTEGER NOT NULL,
        org_id TEXT NOT NULL,
        turn INTEGER NOT NULL,
        PRIMARY KEY (pipeline_type, priority, org_id)
    ) WITHOUT ROWID;
    INSERT INTO turns SELECT pipeline_type, 0, org_id, MAX(turn) FROM jobs GROUP BY pipeline_type, org_id;

    -- Counts that lists and queue positions need, kept up by triggers so that they cost the same for any number.
    CREATE TABLE job_counts (
        org_id TEXT NOT NULL,
        pipeline_type TEXT NOT NULL,
        status TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (org_id, pipeline_type, status)
    ) WITHOUT ROWID;
    INSERT INTO job_counts SELECT org_id, pipeline_type, status, COUNT(*) FROM jobs GROUP BY 1, 2, 3;
    CREATE TABLE queue_counts (
        pipeline_type TEXT NOT NULL,
        priority INTEGER NOT NULL,
        bucket INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (pipeline_type, priority, bucket)
    ) WITHOUT ROWID;
    INSERT INTO queue_counts SELECT pipeline_type, priority, turn / 256, COUNT(*) FROM jobs
        WHERE status = 'PENDING' GROUP BY 1, 2, 3;
    CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
        INSERT INTO job_counts VALUES (new.org_id, new.pipeline_type, new.status, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
    END;
    CREATE TRIGGER job_deleted AFTER DELETE ON jobs BEGIN
        UPDATE job_counts SET n = n - 1
            WHERE org_id = old.org_id AND pipeline_type = old.pipeline_type AND status = old.status;
    END;
    CREATE TRIGGER job_moved AFTER UPDATE OF status ON jobs WHEN old.status != new.status BEGIN
        UPDATE job_counts SET n = n - 1
            WHERE org_id = old.org_id AND pipeline_type = old.pipeline_type AND status = old.status;
        INSERT INTO job_counts VALUES (new.org_id, new.pipeline_type, new.status, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
    END;
    CREATE TRIGGER queue_entered AFTER INSERT ON jobs WHEN new.status = 'PENDING' BEGIN
        INSERT INTO queue_counts VALUES (new.pipeline_type, new.priority, new.turn / 256, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
    END;
    CREATE TRIGGER queue_left AFTER UPDATE OF status, turn ON jobs WHEN old.status = 'PENDING' BEGIN
        UPDATE queue_counts SET n = n - 1
            WHERE pipeline_type = old.pipeline_type AND priority = old.priority AND bucket = old.turn / 256;
        DELETE FROM queue_counts WHERE n = 0
            AND pipeline_type = old.pipeline_type AND priority = old.priority AND bucket = old.turn / 256;
    END;
    CREATE TRIGGER queue_entered_again AFTER UPDATE OF status, turn ON jobs WHEN new.status = 'PENDING' BEGIN
        INSERT INTO queue_counts VALUES (new.pipeline_type, new.priority, new.turn / 256, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
    END;

    CREATE TABLE checkpoints (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        name TEXT NOT NULL,
        step INTEGER NOT NULL,
        metrics TEXT NOT NULL,
        filename TEXT NOT NULL,
        file_type TEXT NOT NULL,
        num_bytes INTEGER NOT NULL,
        created_at TEXT NOT NULL
    );
    CREATE INDEX checkpoints_job ON checkpoints(job_id);

    -- An input is a file (file_id, file_uid) or a checkpoint of another job (checkpoint_id).
    CREATE TABLE inputs_2 (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        port_name TEXT NOT NULL,
        file_id TEXT NOT NULL,
        file_uid TEXT REFERENCES files(file_uid),
        checkpoint_id TEXT,
        metadata TEXT NOT NULL,
        status TEXT NOT NULL,
        error_message TEXT,
        created_at TEXT NOT NULL,
        completed_at TEXT
    );
    INSERT INTO inputs_2 SELECT seq, id, job_id, port_name, file_id, file_uid, NULL, metadata, status, error_message,
        created_at, completed_at FROM inputs;
    DROP TABLE inputs;
    ALTER TABLE inputs_2 RENAME TO inputs;
    CREATE INDEX inputs_job ON inputs(job_id, status);
    CREATE INDEX inputs_file ON inputs(file_uid);
    CREATE INDEX inputs_checkpoint ON inputs(checkpoint_id) WHERE checkpoint_id IS NOT NULL;
    CREATE INDEX progress_input ON progress(job_id, input_id, id);

    -- How far what each index of an attempt has written is recorded. It said that it is `done`, or has a `failure`
    -- (the error of the job, as JSON); which of them came first counts.
    CREATE TABLE indexes (
        job_id TEXT NOT NULL REFERENCES jobs(id),
        attempt INTEGER NOT NULL,
        idx INTEGER NOT NULL,
        position INTEGER NOT NULL DEFAULT 0,
        kept INTEGER NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        PRIMARY KEY (job_id, attempt, idx)
    ) WITHOUT ROWID;

    ALTER TABLE files ADD COLUMN org_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE files ADD COLUMN file_status TEXT NOT NULL DEFAULT 'REGISTERED';
    UPDATE files SET org_id = COALESCE((SELECT id FROM organisations), '');
    DROP INDEX files_current;
    CREATE UNIQUE INDEX files_current ON files(org_id, file_id) WHERE current;
    CREATE INDEX files_newest ON files(org_id, seq) WHERE current;

    CREATE TABLE uploads (
        id TEXT PRIMARY KEY,
        org_id TEXT NOT NULL,
        file_uid TEXT NOT NULL,
        filename TEXT NOT NULL,
        file_type TEXT NOT NULL,
        num_bytes INTEGER NOT NULL,
        part_size INTEGER NOT NULL,
        status TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX uploads_name ON uploads(org_id, filename, status);
    CREATE INDEX uploads_file ON uploads(file_uid);
    -- `place` is the file that holds the part; each PUT has one of its own, so this row is what makes it the part.
    CREATE TABLE upload_parts (
        upload_id TEXT NOT NULL REFERENCES uploads(id),
        part_number INTEGER NOT NULL,
        token TEXT NOT NULL,
        place TEXT NOT NULL,
        checkpointed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (upload_id, part_number)
    ) WITHOUT ROWID;
    """,
    """
    -- Jobs that an engine with a queue of its own has been given. `number` only grows, also when rows are gone: it is
    -- part of the marker of the place, so that what an earlier place still does is never taken for a later one's.
    -- `attempt` is set when the place has room and the job is admitted.
    CREATE TABLE handovers (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL UNIQUE,
        ticket INTEGER NOT NULL,
        indexes INTEGER NOT NULL,
        attempt INTEGER
    );
    """,
    """
    -- How many jobs wait, by 64 and by 4096 turns: a place in a queue of 100,000 is a sum over some eighty counts.
    DROP TRIGGER queue_entered;
    DROP TRIGGER queue_left;
    DROP TRIGGER queue_entered_again;
    DELETE FROM queue_counts;
    INSERT INTO queue_counts SELECT pipeline_type, priority, turn / 64, COUNT(*) FROM jobs
        WHERE status = 'PENDING' GROUP BY 1, 2, 3;
    CREATE TABLE queue_blocks (
        pipeline_type TEXT NOT NULL,
        priority INTEGER NOT NULL,
        block INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (pipeline_type, priority, block)
    ) WITHOUT ROWID;
    INSERT INTO queue_blocks SELECT pipeline_type, priority, turn / 4096, COUNT(*) FROM jobs
        WHERE status = 'PENDING' GROUP BY 1, 2, 3;
    CREATE TRIGGER queue_entered AFTER INSERT ON jobs WHEN new.status = 'PENDING' BEGIN
        INSERT INTO queue_counts VALUES (new.pipeline_type, new.priority, new.turn / 64, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
        INSERT INTO queue_blocks VALUES (new.pipeline_type, new.priority, new.turn / 4096, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
    END;
    CREATE TRIGGER queue_left AFTER UPDATE OF status, turn ON jobs WHEN old.status = 'PENDING' BEGIN
        UPDATE queue_counts SET n = n - 1
            WHERE pipeline_type = old.pipeline_type AND priority = old.priority AND bucket = old.turn / 64;
        DELETE FROM queue_counts WHERE n = 0
            AND pipeline_type = old.pipeline_type AND priority = old.priority AND bucket = old.turn / 64;
        UPDATE queue_blocks SET n = n - 1
            WHERE pipeline_type = old.pipeline_type AND priority = old.priority AND block = old.turn / 4096;
        DELETE FROM queue_blocks WHERE n = 0
            AND pipeline_type = old.pipeline_type AND priority = old.priority AND block = old.turn / 4096;
    END;
    CREATE TRIGGER queue_entered_again AFTER UPDATE OF status, turn ON jobs WHEN new.status = 'PENDING' BEGIN
        INSERT INTO queue_counts VALUES (new.pipeline_type, new.priority, new.turn / 64, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
        INSERT INTO queue_blocks VALUES (new.pipeline_type, new.priority, new.turn / 4096, 1)
            ON CONFLICT DO UPDATE SET n = n + 1;
    END;
    """,
)
