package alerting

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// A page names as told whose page was taken, also after a restart, and says who was not reached, and who is only being told.
func TestAPageNamesAsToldOnlyWhoWas(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &house{t: t, d: mem.New(), boxes: &inbox.Set{}, extra: map[string]notify.Notifier{}, started: time.Now(), config: `
receivers: {pager: {inbox: {}}, mail: {inbox: {}}, chat: {inbox: {}}, slow: {inbox: {}}}
people: {jo: {ways: [pager]}, sun: {ways: [mail]}, lee: {ways: [slow]}}
teams: {default: {members: [jo, sun, lee], receiver: chat, escalation: [{to: [jo, receiver]}, {after: 1m, to: [lee]}, {after: 70s, to: [sun]}]}}
`}
			h.b = bus.New(h.d, bus.Settings{}, obs.Scope{})
			if err := h.b.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			mail, chat := &ear{name: "mail"}, &ear{name: "chat"}
			m := newMine(-1)
			h.extra["mail"], h.extra["chat"] = listening{mail, m}, listening{chat, m}
			h.extra["pager"] = listening{&ear{name: "pager", does: func(*event.Page) error { return notify.Permanent(errors.New("404 no such user")) }}, m}
			h.extra["slow"] = listening{&ear{name: "slow", does: func(*event.Page) error { return errors.New("no answer") }}, m}
			h.target("srv-0", "server", "net")
			h.start()
			h.failAt(time.Second, "srv-0", "critical", 5*time.Minute)
			time.Sleep(30 * time.Second)
			if restart {
				h.crash()
				h.start()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			h.crash() // Nobody writes any more.
			if len(mail.arrived) != 1 || len(chat.arrived) != 1 {
				t.Fatalf("%d mails, %d in the chat", len(mail.arrived), len(chat.arrived))
			}
			said := func(p *event.Page) string {
				for _, f := range words.Of(p, notify.Env{}).Facts {
					if f.Name == words.Told {
						return f.Value
					}
				}
				return ""
			}
			if got, want := said(mail.arrived[0]), "chat; being told: lee by slow; not reached, as far as is known: jo by pager"; got != want {
				t.Errorf("the second step says %q, want %q", got, want)
			}
			if got, want := said(chat.arrived[0]), "being told: jo by pager"; got != want {
				t.Errorf("the first says %q, want %q", got, want)
			}
		})
	}
}

// Who is told by their next way reads why, and that the first has not reached them.
func TestWhoIsToldByTheNextWayReadsWhy(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	s.says = map[string]Outcome{"pager": {Err: errNet, Permanent: true}}
	p := s.page("inc", "pager/jo", "critical", event.PageFiring, 0)
	p.Calling, p.Snapshot.Told = []string{"pager/jo"}, []string{"pager/jo"}
	s.run(5 * time.Second)
	if len(s.told) != 1 {
		t.Fatalf("told %q", s.to())
	}
	got := words.Of(s.told[0], notify.Env{}).Plain
	for _, want := range []string{"not reached, as far as is known: jo by pager", "You are told this way because pager does not work: connection reset"} {
		if !strings.Contains(got, want) {
			t.Errorf("it says\n%s\nand not %q", got, want)
		}
	}
}
