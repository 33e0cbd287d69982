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
	name       string
	make       func(poller.Setup) (poller.Poller, conf.Problems)
	credential credential
}

// credential says whether checks of a kind name a credential.
type credential int

const (
	never credential = iota
	may
	must
)

// kinds lists every poller, one line each.
func kinds() []kind {
	return []kind{
		{"snmp", func(s poller.Setup) (poller.Poller, conf.Problems) { return snmp.New(s) }, must},
		{"http", func(s poller.Setup) (poller.Poller, conf.Problems) { return http.New(s) }, may},
		{event.CanaryClass, func(poller.Setup) (poller.Poller, conf.Problems) { return canary.New(), nil }, never},
	}
}
