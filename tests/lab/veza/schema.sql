-- Copyright (c) 2026, Veza infrastructure team
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE tracks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    hls_status text,
    dmca_blocked boolean NOT NULL DEFAULT false,
    search_indexed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE transcode_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    track_id bigint NOT NULL REFERENCES tracks (id),
    status text NOT NULL,
    attempts integer NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE takedowns (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    track_id bigint NOT NULL REFERENCES tracks (id),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE distributions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    track_id bigint NOT NULL REFERENCES tracks (id),
    platform text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The workers' idempotency keys: a row here, in the transaction of the effect, is what makes an effect happen once.
CREATE TABLE processed_keys (
    key text PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

-- Belongs to the oracle: no unique constraint, so that a second effect is seen rather than refused.
CREATE TABLE effects (
    id bigserial PRIMARY KEY,
    key text NOT NULL,
    dispatch text NOT NULL,
    kind text NOT NULL,
    entity_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
