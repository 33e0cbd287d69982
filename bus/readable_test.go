package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// bad are records that others might write to a topic of commands, and what is said of each.
func bad(t *testing.T) map[string]struct {
	record driver.Record
	why    string
} {
	good, err := command(1, "core-1").Encode()
	if err != nil {
		t.Fatal(err)
	}
	with := func(value []byte, headers ...string) driver.Record {
		r := driver.Record{Topic: "commands.v1", Key: "k", Value: value}
		for i := 0; i < len(headers); i += 2 {
			r.Headers = append(r.Headers, driver.Header{Name: headers[i], Value: headers[i+1]})
		}
		return r
	}
	type kind = struct {
		record driver.Record
		why    string
	}
	return map[string]kind{
		"not one of ours":             {with([]byte("temperature 21.5")), "malformed event"},
		"not text":                    {with([]byte{0xff, 0, 1, 2, 0xfe}), "malformed event"},
		"empty":                       {with([]byte{}), "malformed event"},
		"JSON, but no event":          {with([]byte(`{"temperature":21.5}`)), "specversion"},
		"truncated":                   {with(good[:len(good)/2]), "unexpected end"},
		"another word, by its header": {with(good, "kemi-word", "dev.kemi.page.v1"), "the record is a dev.kemi.page.v1, expected a dev.kemi.command.v1"},
		"a newer version, by its header": {
			with(good, "kemi-word", "dev.kemi.command.v3"),
			"the record is a dev.kemi.command.v3, a newer version of dev.kemi.command.v1: this Kemi is too old for it",
		},
		"an older version":            {with(good, "kemi-word", "dev.kemi.command.v0"), "expected a dev.kemi.command.v1"},
		"another type of event":       {with([]byte(strings.Replace(string(good), "dev.kemi.command.v1", "com.example.order.v1", 1))), "com.example.order.v1"},
		"a newer version of the type": {with([]byte(strings.Replace(string(good), "dev.kemi.command.v1", "dev.kemi.command.v2", 1))), "dev.kemi.command.v2"},
		"a newer specversion":         {with([]byte(strings.Replace(string(good), `"specversion":"1.0"`, `"specversion":"2.0"`, 1))), "2.0"},
		"another content type":        {with(good, "content-type", "text/xml"), `the content type is "text/xml", expected application/cloudevents+json`},
		"a content type that is none": {with(good, "content-type", ";;"), "the content type is"},
		"an unknown encoding":         {with(good, "content-encoding", "brotli"), `content encoding "brotli" is not known`},
		"broken compression":          {with([]byte("\x05\x00abc"), "content-encoding", "s2"), "s2"},
		"a bomb":                      {with([]byte("\xff\xff\xff\xff\x0f"), "content-encoding", "s2"), "s2"},
		"compressed noise":            {with(s2.Encode(nil, []byte("noise")), "content-encoding", "s2"), "malformed event"},
	}
}

func TestEveryKindOfBadInputIsADeadLetterThatSaysWhatAndWhere(t *testing.T) {
	for name, c := range bad(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, d := open(t)
				publish(t, b, 0, 1)
				if err := d.Publish(t.Context(), []driver.Record{c.record}, nil); err != nil {
					t.Fatal(err)
				}
				publish(t, b, 1, 2)
				var n notebook
				stop := own(t, b, "g", bus.Options{}, &n)
				time.Sleep(5 * time.Second)
				stop()
				if got := strings.Join(n.list(), ""); got != "01" {
					t.Errorf("the group handled %s: it did not go on", got)
				}
				ids := list(t, b, bus.LetterFilter{})
				if len(ids) != 1 {
					t.Fatalf("%d letters", len(ids))
				}
				l, err := b.Letter(t.Context(), ids[0])
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(l.Reason, "read commands.v1/0 at 2: ") || !strings.Contains(l.Reason, c.why) {
					t.Errorf("the reason is %q, want %q", l.Reason, c.why)
				}
				if l.Topic != "commands.v1" || l.Partition != 0 || l.Position != 2 || l.Group != "g" {
					t.Errorf("%+v", l)
				}
				if string(l.Record.Value) != string(c.record.Value) || fmt.Sprint(l.Record.Headers) != fmt.Sprint(c.record.Headers) {
					t.Errorf("the letter holds %q %v", l.Record.Value, l.Record.Headers)
				}
			})
		})
	}
}

func TestFollowersPassOverBadInputAndCountIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg, d := prometheus.NewRegistry(), mem.New()
		b := bus.New(d, bus.Settings{}, obs.New(slog.New(slog.DiscardHandler), reg))
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		all := bad(t)
		for _, c := range all {
			if err := d.Publish(t.Context(), []driver.Record{c.record}, nil); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, b, 0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		err := bus.Follow(ctx, b, bus.From{}, func(m bus.Message[event.Command]) error {
			got = append(got, m.Event.By)
			return nil
		}, cancel)
		if err != nil || fmt.Sprint(got) != "[0]" {
			t.Errorf("followed %v, %v", got, err)
		}
		if n := metric(t, reg, "kemi_bus_unreadable_total")["commands.v1"]; int(n) != len(all) {
			t.Errorf("%v of %d were counted", n, len(all))
		}
	})
}

func TestBadJobsAreDeadLettersAndTheOthersAreDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		for p := range 3 {
			r := driver.Record{Topic: "jobs.v1.default", Partition: p, Key: "k", Value: []byte("\xff\xff job"), Headers: []driver.Header{{Name: "x", Value: "y"}}}
			if err := d.Publish(t.Context(), []driver.Record{r}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Publish(t.Context(), job(1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done, ended := 0, make(chan error, 1)
		go func() {
			ended <- bus.Work(ctx, b, event.JobsTopic(""), "pollers", 1, func(context.Context, bus.Message[event.Job]) error {
				done++
				return nil
			})
		}()
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil || done != 1 {
			t.Errorf("%d jobs were done, %v", done, err)
		}
		all, _, err := b.Letters(t.Context(), bus.LetterFilter{Group: "pollers"}, 0)
		if err != nil || len(all) != 3 || !strings.Contains(all[0].Reason, "read jobs.v1.default/") {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

func TestWhatOthersWriteWithoutOurHeadersIsUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		value, _ := command(5, "core-1").Encode()
		for _, contentType := range []string{"", "application/cloudevents+json", "application/cloudevents+json; charset=UTF-8", "Application/CloudEvents+JSON"} {
			r := driver.Record{Topic: "commands.v1", Value: value}
			if contentType != "" {
				r.Headers = []driver.Header{{Name: "content-type", Value: contentType}}
			}
			if err := d.Publish(t.Context(), []driver.Record{r}, nil); err != nil {
				t.Fatal(err)
			}
		}
		n := refusing(t, b)
		if got := strings.Join(n.list(), ""); got != "5555" {
			t.Errorf("handled %q", got)
		}
	})
}
