# outboxd@.service is outboxd.service with a configuration for each instance.
s/^Description=outboxd, .*/& (%i)/
s/^ExecStart=outboxd run$/& --config \/etc\/outboxd\/%i.conf/
s/outboxd\.env/%i.env/
s/outboxd\.conf/%i.conf/
s/systemctl \(edit\|status\) outboxd/&@NAME/
