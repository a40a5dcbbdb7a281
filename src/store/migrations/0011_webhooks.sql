-- Standing webhook endpoints: where a controller is told of all its requests, besides the address that one request may name.

-- `sealed` holds the address, the description and the secrets (an old one signs too for a day); it is emptied when the endpoint is
-- removed. `events` are the statuses it wants, JSON; an empty list is all. `failing_since` is its first failure without a success after
-- it, `retry_at` until when it is left alone. What is disabled is told nothing until a person enables it.
CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  events TEXT NOT NULL,
  sealed {blob} NOT NULL,
  failures BIGINT NOT NULL DEFAULT 0,
  failing_since BIGINT,
  retry_at BIGINT,
  answered_at BIGINT,
  answer TEXT,
  disabled_at BIGINT,
  disabled_why TEXT,
  created_at BIGINT NOT NULL,
  deleted_at BIGINT
);
CREATE INDEX webhooks_controller ON webhooks(controller_id, id) WHERE deleted_at IS NULL;

-- For which endpoint a status is to be told; none: the request's own address.
ALTER TABLE steps ADD COLUMN webhook_id TEXT REFERENCES webhooks(id);
CREATE INDEX steps_webhook_lost ON steps(webhook_id) WHERE webhook_id IS NOT NULL AND state = 'retained';
