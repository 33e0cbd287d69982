package embedded_test

import (
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/series/embedded"
)

// standard is the reading by which DESIGN.md 9 measures, of one of many targets.
func standard(target int, at time.Time, round uint64) *event.Reading {
	tab := event.Table{Name: "interfaces", Rows: 50, Index: []event.IndexColumn{{Name: "ifIndex"}, {Name: "ifName"}}}
	for row := range tab.Rows {
		tab.Index[0].Values = append(tab.Index[0].Values, fmt.Sprint(row+1))
		tab.Index[1].Values = append(tab.Index[1].Values, fmt.Sprintf("GigabitEthernet1/0/%d", row+1))
	}
	for c := range 11 {
		col := event.Column{Name: fmt.Sprintf("ifColumn%d", c), Kind: event.Counter}
		for row := range tab.Rows {
			col.Counters = append(col.Counters, round*1_000_000+uint64(row)*round)
		}
		tab.Columns = append(tab.Columns, col)
	}
	id := fmt.Sprintf("tor-%d", target)
	return &event.Reading{
		JobID: id, Target: id, Check: "snmp", Status: event.StatusOK, Started: at, Slot: at, Duration: time.Millisecond,
		Interval: 10 * time.Second, Tables: []event.Table{tab},
		Labels: event.LabelsOf(map[string]string{"target": id, "class": "switch", "site": "dc1", "team": "network", "rack": "r7"}),
	}
}

// BenchmarkWriteStandardReading measures one reading into the store, series known; aim: 0.25 ms of CPU.
func BenchmarkWriteStandardReading(b *testing.B) {
	const targets = 20
	now := start
	s := embedded.New(embedded.Options{Config: embedded.Default(), Dir: b.TempDir(), Now: func() time.Time { return now }})
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	w := s.Writer(0)
	round := uint64(0)
	next := func() []*event.Reading {
		now = now.Add(10 * time.Second)
		round++
		batch := make([]*event.Reading, targets)
		for i := range batch {
			batch[i] = standard(i, now, round)
		}
		return batch
	}
	if _, err := w.Write(b.Context(), next()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i += targets {
		b.StopTimer()
		batch := next()
		b.StartTimer()
		if _, err := w.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}
