CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    placed_at timestamptz NOT NULL DEFAULT now(),
    customer_id integer NOT NULL CHECK (customer_id > 0),
    total_cents integer NOT NULL CHECK (total_cents > 0),
    quantity smallint NOT NULL CHECK (quantity BETWEEN 1 AND 1000)
);
