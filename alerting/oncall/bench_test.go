package oncall_test

import (
	"testing"
	"time"

	"kemi.dev/kemi/alerting/oncall"
)

// At must not get slower with the years that a rotation has gone on.
func BenchmarkAt(b *testing.B) {
	r := roster(b, `
schedules:
  plain:
    timezone: Europe/Berlin
    layers: [{every: week, start: 2026-01-05 09:00, people: [jo, sun, lee]}]
  rich:
    timezone: Europe/Berlin
    layers:
      - {every: week, start: 2026-01-05 09:00, people: [jo, sun, lee]}
      - {every: day, start: 2026-01-05 09:00, people: [sun, lee], only: [{days: mon-fri, from: "22:00", to: "06:00"}, {days: [sat, sun]}]}
`)
	for _, schedule := range []string{"plain", "rich"} {
		for name, year := range map[string]int{"first-year": 2026, "ten-years-later": 2036} {
			for _, role := range []oncall.Role{oncall.Primary, oncall.Secondary} {
				b.Run(schedule+"/"+name+"/"+string(role), func(b *testing.B) {
					t := time.Date(year, 7, 1, 12, 0, 0, 0, time.UTC)
					b.ReportAllocs()
					for b.Loop() {
						if r.At(schedule, role, t).Person == "" {
							b.Fatal("nobody")
						}
					}
				})
			}
		}
	}
}
