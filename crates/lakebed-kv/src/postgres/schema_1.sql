-- Schema 1 of the PostgreSQL engine; what it is and why stands in mod.rs.

CREATE SEQUENCE lakebed_versions AS bigint;

-- Records such as a branch are rewritten all the time and no index but the primary key's holds any of it: with room left
-- on its pages an update touches no index at all.
CREATE TABLE lakebed_kv (
    key bytea NOT NULL PRIMARY KEY,
    value bytea NOT NULL,
    version bigint NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- Checks and writes a group of transactions; each happens wholly or not at all.
--
-- No key that one of them writes is named by another, so each is decided by itself. Transactions are numbered from 1.
-- lock_keys          every key of the group, once, in order
-- run_ends, run_strengths  keys up to each end are locked alike: 0 key share, 1 share, 2 no key update, 3 update
-- check_*            what must hold: kind 0 absent, 1 exists, 2 at check_versions
-- write_*            what is done: a value of null deletes; new: the transaction checks that the key is absent
CREATE FUNCTION lakebed_transact(
    transactions integer,
    lock_keys bytea[], run_ends integer[], run_strengths smallint[],
    check_numbers integer[], check_keys bytea[], check_kinds smallint[], check_versions bigint[],
    write_numbers integer[], write_keys bytea[], write_values bytea[], write_new boolean[],
    OUT given_versions bigint[], OUT refused_numbers integer[], OUT refused_keys bytea[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    next_key integer := 1;
    some_keys bytea[];
    found_keys bytea[];
    found_versions bigint[];
    held_keys bytea[] := '{}';
    held_versions bigint[] := '{}';
    wanted bigint;
    made bigint;
BEGIN
    -- All locks come first and in the order of keys, so that transactions wait for one another in one direction. Each
    -- statement sees what was committed before it began, and a row it had to wait for as its holder left it.
    FOR run IN 1 .. cardinality(run_ends) LOOP
        some_keys := lock_keys[next_key : run_ends[run]];
        next_key := run_ends[run] + 1;
        CASE run_strengths[run]
        WHEN 0 THEN
            SELECT array_agg(l.key), array_agg(l.version) INTO found_keys, found_versions FROM (
                SELECT kv.key, kv.version FROM lakebed_kv kv
                WHERE kv.key = ANY (some_keys) ORDER BY kv.key FOR KEY SHARE) l;
        WHEN 1 THEN
            SELECT array_agg(l.key), array_agg(l.version) INTO found_keys, found_versions FROM (
                SELECT kv.key, kv.version FROM lakebed_kv kv
                WHERE kv.key = ANY (some_keys) ORDER BY kv.key FOR SHARE) l;
        WHEN 2 THEN
            SELECT array_agg(l.key), array_agg(l.version) INTO found_keys, found_versions FROM (
                SELECT kv.key, kv.version FROM lakebed_kv kv
                WHERE kv.key = ANY (some_keys) ORDER BY kv.key FOR NO KEY UPDATE) l;
        ELSE
            SELECT array_agg(l.key), array_agg(l.version) INTO found_keys, found_versions FROM (
                SELECT kv.key, kv.version FROM lakebed_kv kv
                WHERE kv.key = ANY (some_keys) ORDER BY kv.key FOR UPDATE) l;
        END CASE;
        held_keys := held_keys || found_keys;
        held_versions := held_versions || found_versions;
    END LOOP;

    -- What exists is locked: these verdicts hold until the end. Absence is certain only once the key is inserted.
    SELECT coalesce(array_agg(r.number), '{}'), coalesce(array_agg(r.key), '{}')
    INTO refused_numbers, refused_keys
    FROM (
        SELECT DISTINCT ON (c.number) c.number, c.key
        FROM unnest(check_numbers, check_keys, check_kinds, check_versions) AS c (number, key, kind, version)
        LEFT JOIN unnest(held_keys, held_versions) AS h (key, version) ON h.key = c.key
        WHERE NOT CASE c.kind
            WHEN 0 THEN h.key IS NULL
            WHEN 1 THEN h.key IS NOT NULL
            ELSE h.version IS NOT DISTINCT FROM c.version
        END
        ORDER BY c.number, c.key
    ) r;
    IF cardinality(refused_numbers) = transactions THEN
        RETURN;
    END IF;

    SELECT array_agg(nextval('lakebed_versions')) INTO given_versions FROM generate_series(1, transactions);

    IF true = ANY (write_new) THEN
        SELECT count(*) INTO wanted
        FROM unnest(write_numbers, write_new) AS w (number, new)
        WHERE w.new AND w.number <> ALL (refused_numbers);
        INSERT INTO lakebed_kv (key, value, version)
            SELECT w.key, coalesce(w.value, ''), given_versions[w.number]
            FROM unnest(write_numbers, write_keys, write_values, write_new) AS w (number, key, value, new)
            WHERE w.new AND w.number <> ALL (refused_numbers)
            ORDER BY w.key
            ON CONFLICT (key) DO NOTHING;
        GET DIAGNOSTICS made = ROW_COUNT;
        IF made <> wanted THEN
            -- Made by another since we looked. Undone and sent again, it is seen.
            RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'a key was made meanwhile';
        END IF;
    END IF;

    -- A key that is deleted and was not there is made first: then it is locked like all others, and nobody can see the
    -- rest of this transaction together with a key made by one that comes before it.
    INSERT INTO lakebed_kv AS kv (key, value, version)
        SELECT w.key, coalesce(w.value, ''), given_versions[w.number]
        FROM unnest(write_numbers, write_keys, write_values, write_new) AS w (number, key, value, new)
        WHERE NOT w.new AND w.number <> ALL (refused_numbers)
            AND (w.value IS NOT NULL OR w.key NOT IN (SELECT unnest(held_keys)))
        ORDER BY w.key
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version;

    IF array_position(write_values, NULL) IS NOT NULL THEN
        DELETE FROM lakebed_kv kv WHERE kv.key = ANY (ARRAY(
            SELECT w.key FROM unnest(write_numbers, write_keys, write_values) AS w (number, key, value)
            WHERE w.value IS NULL AND w.number <> ALL (refused_numbers)));
    END IF;
END
$$;
