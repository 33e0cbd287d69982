package influxdb

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// Whatever names, labels and values a device has: what is sent is line protocol, a line for each row with a value.
func TestAnyReadingIsLineProtocol(t *testing.T) {
	odd := rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "b", "check", "target", " ", ",", "=", `"`, `\`, `a\`, "\n", "\x00", "\x7f", "\xff", "ü", "a=b,c d", "#x", "_m", "time"}),
		rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		labels := map[string]string{}
		for range rapid.IntRange(0, 4).Draw(t, "labels") {
			if name := odd.Draw(t, "label"); name != "" {
				labels[name] = odd.Draw(t, "value")
			}
		}
		rows := rapid.IntRange(0, 3).Draw(t, "rows")
		tab := event.Table{Name: odd.Draw(t, "table"), Rows: rows}
		for range rapid.IntRange(0, 2).Draw(t, "index") {
			ix := event.IndexColumn{Name: odd.Draw(t, "name")}
			for range rows {
				ix.Values = append(ix.Values, odd.Draw(t, "cell"))
			}
			tab.Index = append(tab.Index, ix)
		}
		for range rapid.IntRange(0, 3).Draw(t, "columns") {
			c := event.Column{Name: odd.Draw(t, "column"), Kind: rapid.SampledFrom([]event.ColumnKind{event.Counter, event.Gauge, event.Text}).Draw(t, "kind")}
			for row := range rows {
				switch c.Kind {
				case event.Counter:
					c.Counters = append(c.Counters, rapid.Uint64().Draw(t, "counter"))
				case event.Gauge:
					c.Gauges = append(c.Gauges, rapid.SampledFrom([]float64{0, -1.5, math.MaxFloat64, math.NaN(), math.Inf(-1), 5e-324}).Draw(t, "gauge"))
				default:
					c.Texts = append(c.Texts, odd.Draw(t, "text"))
				}
				if rapid.Bool().Draw(t, "missing") {
					c.Missing = append(c.Missing, uint32(row))
				}
			}
			tab.Columns = append(tab.Columns, c)
		}
		at := time.UnixMilli(rapid.Int64Range(1, 4e12).Draw(t, "at"))
		r := &event.Reading{Target: "x", Check: "snmp", Status: event.StatusOK, Started: at, Labels: event.LabelsOf(labels), Tables: []event.Table{tab}}

		e := newEncoder()
		e.reset()
		lines, _, err := e.add(r)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		d := lineprotocol.NewDecoderWithBytes(bytes.Clone(e.enc.Bytes()))
		n := 0
		for d.Next() {
			n++
			if err := readLine(d, at); err != nil {
				t.Fatalf("line %d of %q: %v", n, e.enc.Bytes(), err)
			}
		}
		if n != lines || d.Err() != nil {
			t.Fatalf("%d lines, %v; want %d: %q", n, d.Err(), lines, e.enc.Bytes())
		}
	})
}

func readLine(d *lineprotocol.Decoder, want time.Time) error {
	if m, err := d.Measurement(); err != nil || len(m) == 0 {
		return fmt.Errorf("measurement %q: %w", m, err)
	}
	last := ""
	for {
		k, _, err := d.NextTag()
		if err != nil {
			return err
		}
		if k == nil {
			break
		}
		if string(k) <= last {
			return fmt.Errorf("tag %q after %q", k, last)
		}
		last = string(k)
	}
	fields := 0
	for {
		k, _, err := d.NextField()
		if err != nil {
			return err
		}
		if k == nil {
			break
		}
		fields++
	}
	at, err := d.Time(lineprotocol.Millisecond, time.Time{})
	if err != nil || !at.Equal(want) || fields == 0 {
		return fmt.Errorf("%d fields at %s, want %s: %w", fields, at, want, err)
	}
	return nil
}

func BenchmarkEncodeStandardReading(b *testing.B) {
	tab := event.Table{Name: "interfaces", Rows: 50, Index: []event.IndexColumn{{Name: "ifIndex"}, {Name: "ifName"}}}
	for row := range tab.Rows {
		tab.Index[0].Values = append(tab.Index[0].Values, fmt.Sprint(row+1))
		tab.Index[1].Values = append(tab.Index[1].Values, fmt.Sprintf("GigabitEthernet1/0/%d", row+1))
	}
	for c := range 11 {
		col := event.Column{Name: fmt.Sprintf("ifColumn%d", c), Kind: event.Counter, Counters: make([]uint64, tab.Rows)}
		tab.Columns = append(tab.Columns, col)
	}
	r := &event.Reading{
		Target: "tor-1", Check: "snmp", Status: event.StatusOK, Started: time.UnixMilli(1e12), Tables: []event.Table{tab},
		Labels: event.LabelsOf(map[string]string{"target": "tor-1", "class": "switch", "site": "dc1", "team": "network", "rack": "r7"}),
	}
	e := newEncoder()
	b.ReportAllocs()
	for b.Loop() {
		e.reset()
		if lines, _, err := e.add(r); err != nil || lines != 51 {
			b.Fatal(lines, err)
		}
	}
	if !strings.Contains(string(e.enc.Bytes()), "ifName=GigabitEthernet1/0/50") {
		b.Fatal("the last row is missing")
	}
}
