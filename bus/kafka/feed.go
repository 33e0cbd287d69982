package kafka

import (
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// feed is what all kinds of feed have in common.
type feed struct {
	outlet.Outlet
	d *Driver
	t *topic
	s driver.Subscription
}

func newFeed(d *Driver, t *topic, s driver.Subscription) feed {
	return feed{Outlet: outlet.New(t.Name), d: d, t: t, s: s}
}
