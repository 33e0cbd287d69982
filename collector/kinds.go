package collector

import (
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/canary"
	"kemi.dev/kemi/collector/http"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/collector/snmp"
	"kemi.dev/kemi/internal/conf"
)

// kind makes the poller of one kind of check.
type kind struct {
	name string
	make func(poller.Setup) (poller.Poller, conf.Problems)
	// credentials says that a credential may have a part for this kind.
	credentials bool
}

// kinds lists every poller, one line each.
func kinds() []kind {
	return []kind{
		{"snmp", func(s poller.Setup) (poller.Poller, conf.Problems) { return snmp.New(s) }, true},
		{"http", func(s poller.Setup) (poller.Poller, conf.Problems) { return http.New(s) }, true},
		{event.CanaryClass, func(poller.Setup) (poller.Poller, conf.Problems) { return canary.New(), nil }, false},
	}
}
