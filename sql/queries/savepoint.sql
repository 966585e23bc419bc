-- Between the lanes and the rows: when the claim fails in mid-stream only what follows is undone at once. The lanes' locks
-- stay until the rollback, and with them the order per key while the request of the first rows is still under way.
SAVEPOINT outboxd_claim
