package dashboards_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/web"
	"kemi.dev/kemi/processors/series/embedded"
)

// device is one of the made-up targets whose readings fill the store.
type device struct {
	id, class, team string
	ports           int
	// downFrom and downTo are when it does not answer, counted from the beginning.
	downFrom, downTo time.Duration
	host             bool
}

const (
	dataSpan = time.Hour
	dataStep = 30 * time.Second
)

// site is 2 cores, 18 switches, 6 servers and 3 services; some are down now, some were.
func site() []device {
	var all []device
	for i := range 2 {
		all = append(all, device{id: fmt.Sprintf("core-%d", i+1), class: "core", team: "network", ports: 24})
	}
	for i := range 18 {
		all = append(all, device{id: fmt.Sprintf("access-%02d", i+1), class: "switch", team: "network", ports: 24})
	}
	for i := range 6 {
		all = append(all, device{id: fmt.Sprintf("server-%d", i+1), class: "server", team: "compute", ports: 2, host: true})
	}
	for i := range 3 {
		all = append(all, device{id: fmt.Sprintf("shop-%d", i+1), class: "service", team: "web"})
	}
	all[7].downFrom, all[7].downTo = 20*time.Minute, 35*time.Minute
	all[12].downFrom, all[12].downTo = 50*time.Minute, 2*time.Hour
	all[23].downFrom, all[23].downTo = 40*time.Minute, 2*time.Hour
	return all
}

// serveSite stores an hour of the site up to now and serves it as kemi run does: the query API behind the guard, which
// asks for tokens if auth is not nil.
func serveSite(t *testing.T, auth *web.Auth) string {
	t.Helper()
	store := embedded.New(embedded.Options{Config: embedded.Default(), Dir: t.TempDir()})
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := store.Writer(0)
	end := time.Now().Truncate(time.Second)
	for at := end.Add(-dataSpan); !at.After(end); at = at.Add(dataStep) {
		var batch []*event.Reading
		for _, d := range site() {
			batch = append(batch, d.read(at, at.Sub(end.Add(-dataSpan))))
		}
		if _, err := w.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	guard, err := web.NewGuard(auth, "", nil, store.Handler())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.Handler(guard))
	t.Cleanup(server.Close)
	return server.URL
}

func (d device) read(at time.Time, since time.Duration) *event.Reading {
	r := &event.Reading{
		JobID: d.id + at.String(), Target: d.id, Check: "snmp", Kind: "snmp", Status: event.StatusOK, Slot: at, Started: at,
		Duration: time.Duration(4e6 * (1 + d.noise(since, 0))), Interval: dataStep,
		Labels: event.LabelsOf(map[string]string{"target": d.id, "class": d.class, "team": d.team, "site": "dc1"}),
	}
	if d.class == "service" {
		r.Check, r.Kind, r.Duration = "http", "http", 9*r.Duration
	}
	if since >= d.downFrom && since < d.downTo {
		r.Status, r.Duration = event.StatusTimeout, 5*time.Second
		return r
	}
	if d.ports == 0 {
		return r
	}
	up := since.Seconds() + 86_400*3
	r.Tables = []event.Table{
		{Name: "system", Rows: 1, Columns: []event.Column{gauge("sysUpTime", "seconds", up)}},
		d.interfaces(since),
	}
	if d.host {
		r.Tables = append(r.Tables, d.hostTables(since)...)
	}
	return r
}

func (d device) interfaces(since time.Duration) event.Table {
	t := event.Table{Name: "interfaces", Rows: d.ports, Index: []event.IndexColumn{{Name: "ifIndex"}, {Name: "ifName"}, {Name: "ifAlias"}}}
	oper, admin, speed := gauge("ifOperStatus", ""), gauge("ifAdminStatus", ""), gauge("ifHighSpeed", "megabits_per_second")
	counters := map[string]float64{
		"ifHCInOctets": 4e6, "ifHCOutOctets": 2.5e6, "ifHCInUcastPkts": 5000, "ifHCOutUcastPkts": 4000,
		"ifInErrors": 0.05, "ifOutErrors": 0.01, "ifInDiscards": 0.2, "ifOutDiscards": 0.1,
	}
	columns := map[string]*event.Column{}
	for name := range counters {
		columns[name] = &event.Column{Name: name, Kind: event.Counter}
	}
	for i := range d.ports {
		t.Index[0].Values = append(t.Index[0].Values, strconv.Itoa(i+1))
		t.Index[1].Values = append(t.Index[1].Values, fmt.Sprintf("eth%d", i+1))
		t.Index[2].Values = append(t.Index[2].Values, []string{"", "uplink"}[b2i(i == 0)])
		state := 1.0
		if i%9 == 5 || i == 3 && since > 30*time.Minute && since < 42*time.Minute {
			state = 2
		}
		oper.Gauges, admin.Gauges, speed.Gauges = append(oper.Gauges, state), append(admin.Gauges, 1), append(speed.Gauges, 1000)
		weight := 1 / (1 + float64(i)/3) * (0.5 + d.noise(0, i))
		for name, rate := range counters {
			// The integral of a wave that never stands still.
			s := since.Seconds()
			v := rate * weight * (s + 300*(1-math.Cos(s/500+float64(i)))*0.9)
			columns[name].Counters = append(columns[name].Counters, uint64(1e9+v))
		}
	}
	for _, name := range []string{"ifHCInOctets", "ifHCOutOctets", "ifHCInUcastPkts", "ifHCOutUcastPkts", "ifInErrors", "ifOutErrors", "ifInDiscards", "ifOutDiscards"} {
		t.Columns = append(t.Columns, *columns[name])
	}
	t.Columns = append(t.Columns, speed, admin, oper)
	return t
}

func (d device) hostTables(since time.Duration) []event.Table {
	load := gauge("hrProcessorLoad", "percent", 20+60*d.noise(since, 1), 15+50*d.noise(since, 2))
	return []event.Table{
		{Name: "host-resources", Rows: 1, Columns: []event.Column{
			gauge("hrSystemUptime", "seconds", since.Seconds()+1e6), gauge("hrSystemProcesses", "", 212), gauge("hrMemorySize", "bytes", 64<<30),
		}},
		{Name: "processors", Rows: 2, Index: []event.IndexColumn{{Name: "hrDeviceIndex", Values: []string{"196608", "196609"}}}, Columns: []event.Column{load}},
		{
			Name: "storage", Rows: 2,
			Index: []event.IndexColumn{{Name: "hrStorageIndex", Values: []string{"1", "31"}}, {Name: "hrStorageDescr", Values: []string{"Physical memory", "/"}}},
			Columns: []event.Column{
				gauge("hrStorageAllocationUnits", "bytes", 1024, 4096), gauge("hrStorageSize", "allocation_units", 64<<20, 25<<20),
				gauge("hrStorageUsed", "allocation_units", float64(40<<20)*(0.8+0.2*d.noise(since, 3)), 9<<20),
			},
		},
	}
}

func gauge(name, unit string, values ...float64) event.Column {
	return event.Column{Name: name, Kind: event.Gauge, Unit: unit, Gauges: values}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// noise is between 0 and 1 and the same each time it is asked.
func (d device) noise(since time.Duration, i int) float64 {
	h := fnv.New32a()
	fmt.Fprint(h, d.id, since, i)
	return float64(h.Sum32()%1000) / 1000
}
