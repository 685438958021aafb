-- The same 200,000 orders everywhere: one every two minutes, spread evenly over 5,000 customers.
INSERT INTO orders (placed_at, customer_id, total_cents, quantity)
SELECT
    timestamptz '2025-01-01 00:00:00+00' + number * interval '2 minutes',
    1 + (number * 7919) % 5000,
    500 + (number * 48271) % 19501,
    1 + number % 7
FROM generate_series(bigint '1', 200000) AS number;

ANALYZE orders;
