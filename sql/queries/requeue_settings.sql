-- For the transaction of requeue_plan.sql. A nested loop over dead and delivered rows, which the planner may prefer as long as
-- it takes one of the two for few (statistics come late to an outbox), would last for days.
SELECT set_config('enable_nestloop', 'off', true)
