-- The application's stand-in: a shop that commits each product and its event in one transaction, or neither.
\set ON_ERROR_STOP on
\getenv products PRODUCTS
SET client_min_messages = warning;

CREATE TABLE IF NOT EXISTS products (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL,
	price numeric(8, 2) NOT NULL
);

CREATE OR REPLACE PROCEDURE add_product(name text, price numeric) LANGUAGE sql AS $$
	WITH product AS (
		INSERT INTO products (name, price) VALUES (add_product.name, add_product.price) RETURNING *
	)
	SELECT outbox_publish('products', product.id::text, to_jsonb(product), 'product_created') FROM product;
$$;

CREATE OR REPLACE PROCEDURE open_shop(products bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1 + (SELECT count(*) FROM public.products) .. products LOOP
		CALL add_product('teapot no. ' || n, 10 + n * 0.01);
		COMMIT;
	END LOOP;
END
$$;

CALL open_shop(:products);
SELECT count(*) AS products_committed FROM products;
