package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/simulate"
)

// sharedBrokers are the brokers that several processes can be on: what stands under bus:.
var sharedBrokers = map[string]func(t *testing.T) (bus string, nodes []*brokers.Node){
	"nats": func(t *testing.T) (string, []*brokers.Node) {
		c := brokers.NATS(t, 3, brokers.NATSOptions{MaxFile: 32 << 30})
		return fmt.Sprintf("{nats: {urls: [%s], replicas: 3}}", quotedList(c.URLs)), c.Nodes
	},
	"kafka": func(t *testing.T) (string, []*brokers.Node) {
		c := brokers.Kafka(t, 3, brokers.KafkaOptions{})
		return fmt.Sprintf("{kafka: {brokers: [%s]}}", quotedList(c.Addrs)), c.Nodes
	},
}

func quotedList(all []string) string {
	quoted := make([]string, 0, len(all))
	for _, one := range all {
		quoted = append(quoted, strconv.Quote(one))
	}
	return strings.Join(quoted, ", ")
}

// eachBroker runs the test on every broker that several processes can be on.
func eachBroker(t *testing.T, test func(t *testing.T, bus string, nodes []*brokers.Node)) {
	if testing.Short() {
		t.Skip("skipped: needs real brokers; make integration runs it")
	}
	for _, name := range slices.Sorted(maps.Keys(sharedBrokers)) {
		t.Run(name, func(t *testing.T) {
			bus, nodes := sharedBrokers[name](t)
			test(t, bus, nodes)
		})
	}
}

// team is one Kemi of several processes, on a simulated site.
type team struct {
	t       *testing.T
	fleet   *simulate.Fleet
	devices int
	hook    *receiver
	config  string
	members []*process
}

func newTeam(t *testing.T, bus string, devices int, every time.Duration) *team {
	t.Helper()
	listen, err := simulate.ParseListen("127.76.0.0/16:0")
	must(t, err)
	ds, err := simulate.Site(simulate.DemoSpec(listen).Scale(devices))
	must(t, err)
	m := &team{t: t, devices: len(ds), hook: newReceiver(t)}
	m.fleet = playFleet(t, simulate.Config{Listen: listen, Devices: ds})
	yaml := fmt.Sprintf(chaosYAML, "127.0.0.1:7070", m.hook.URL)
	// As patient as a team has to be: a fail-over takes some seconds, and what is asked meanwhile is answered after it.
	yaml = strings.Replace(yaml, "group_wait: 1s, verify_timeout: 3s, settle: 4s", "group_wait: 3s, verify_timeout: 20s, settle: 20s", 1)
	yaml = strings.Replace(yaml, "timeout: 300ms", "timeout: 1s", 1)
	yaml = strings.Replace(yaml, "data: data", "data: ${KEMI_TEST_DATA}\nbus: "+bus, 1)
	dir := files(t, map[string]string{"kemi.yaml": yaml, "rules.yaml": downRule, "targets.yaml": targetsYAML(m.fleet.Devices(), every)})
	m.config = filepath.Join(dir, "kemi.yaml")
	return m
}

// counted is how many slots the processes that run have counted as missed.
func (m *team) counted() (n int) {
	for _, p := range m.members {
		n += p.counted()
	}
	return n
}

// join starts one more process, of the given roles; none is all.
func (m *team) join(roles ...string) *process {
	m.t.Helper()
	p := &process{t: m.t, config: m.config, addr: freeAddr(m.t), env: []string{"KEMI_TEST_DATA=" + m.t.TempDir()}}
	p.args = []string{"--listen", p.addr}
	if len(roles) > 0 {
		p.args = append(p.args, "--role", strings.Join(roles, ","))
	}
	p.endsWithTest()
	p.start()
	m.members = append(m.members, p)
	return p
}

func (p *process) ready() error {
	resp, err := http.Get("http://" + p.addr + "/-/ready")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s", resp.Status, why)
	}
	return nil
}

// deliveriesOnce judges what arrived: no page twice, not even one that a provider would fold.
func deliveriesOnce(all []delivery, outages int) error {
	seen := map[string]bool{}
	for _, d := range all {
		if seen[d.Key] {
			return fmt.Errorf("page %s (%s) was sent twice", d.Key, d.Title)
		}
		seen[d.Key] = true
	}
	return toldOnce(all, outages)
}

// Two processes of every role are one Kemi: every target is polled and up for both APIs, one process of each role is
// killed during an outage and another takes over, one page goes out that it fires and one that it is over, and every slot
// around which all roles ran has one outcome, or is counted: on a busy machine a job may come too late to be run.
func TestIntegrationTwoProcessesOfEveryRoleAreOneKemi(t *testing.T) {
	eachBroker(t, func(t *testing.T, bus string, _ []*brokers.Node) {
		m := newTeam(t, bus, 60, time.Second)
		byRole := map[string]*process{}
		for _, role := range []string{"scheduler", "collector", "processors", "alerting", "api"} {
			byRole[role] = m.join(role)
			m.join(role)
		}
		began := time.Now()
		apis := m.members[8:]
		for _, p := range apis {
			within(t, 90*time.Second, "everything is up for "+p.addr, func() error { return allUp(p, m.devices) })
		}
		for _, p := range m.members {
			within(t, 30*time.Second, "ready", p.ready)
		}
		var dead [][2]time.Time
		counted := 0
		must(t, m.fleet.Fault("core-1", simulate.Fault{Kind: simulate.Down}))
		for _, role := range []string{"alerting", "processors", "scheduler", "collector"} {
			at := time.Now()
			counted += byRole[role].counted()
			byRole[role].kill()
			byRole[role].start()
			dead = append(dead, [2]time.Time{at, at.Add(10 * time.Second)}) // A silent member keeps its share, and what it had in hand, for 6 s.
		}
		within(t, 60*time.Second, "a page that it fires", func() error {
			if all := m.hook.list(); len(all) != 1 || all[0].Status != "firing" {
				return fmt.Errorf("%+v", all)
			}
			return nil
		})
		must(t, m.fleet.Fault("core-1", simulate.Fault{Kind: simulate.Clear}))
		within(t, 60*time.Second, "one page that it fires, one that it is over", func() error { return deliveriesOnce(m.hook.list(), 1) })
		for _, p := range apis {
			within(t, 60*time.Second, "everything is up again for "+p.addr, func() error { return allUp(p, m.devices) })
		}
		within(t, 60*time.Second, "enough slots to judge", func() error {
			if ran := time.Since(began); ran < 45*time.Second {
				return fmt.Errorf("it ran for %s", ran)
			}
			return nil
		})
		account(t, apis[0], began, dead, time.Second, func(s accounts) int { return s.lost }, func() int { return counted + m.counted() })
		must(t, deliveriesOnce(m.hook.list(), 1))
		for _, p := range m.members {
			if took := p.stop(); took > stopsWithin {
				t.Errorf("a process took %s to stop", took)
			}
		}
	})
}

// A process that is stopped (SIGSTOP) during an outage, and goes on when another has taken over and told people
// (KEMI_TEST_PAUSE later at least, 20 s by default), says nothing more: not on the topics, not to the receiver.
func TestIntegrationAPausedProcessSaysNothingMore(t *testing.T) {
	pause := duration(t, "KEMI_TEST_PAUSE", 20*time.Second)
	eachBroker(t, func(t *testing.T, bus string, _ []*brokers.Node) {
		m := newTeam(t, bus, 40, time.Second)
		paused := m.join()
		within(t, 60*time.Second, "everything is up", func() error { return allUp(paused, m.devices) })
		must(t, m.fleet.Fault("core-1", simulate.Fault{Kind: simulate.Down}))
		within(t, 30*time.Second, "the outage is seen", func() error {
			var open []json.RawMessage
			err := paused.get("/api/kemi/v1/alerts?state=firing", &open)
			if err == nil && len(open) == 0 {
				err = fmt.Errorf("no alert fires yet")
			}
			return err
		})
		must(t, paused.cmd.Process.Signal(syscall.SIGSTOP)) // About to page: it waits for the group.
		stopped := time.Now()
		other := m.join()
		within(t, pause+60*time.Second, "the other one tells", func() error {
			if all := m.hook.list(); len(all) != 1 {
				return fmt.Errorf("%+v", all)
			}
			if since := time.Since(stopped); since < pause {
				return fmt.Errorf("paused for %s", since)
			}
			return nil
		})
		must(t, paused.cmd.Process.Signal(syscall.SIGCONT))
		within(t, 30*time.Second, "the paused one is ready again", paused.ready)
		must(t, m.fleet.Fault("core-1", simulate.Fault{Kind: simulate.Clear}))
		within(t, 60*time.Second, "one page that it fires, one that it is over", func() error { return deliveriesOnce(m.hook.list(), 1) })
		within(t, 30*time.Second, "the ledger says each was sent once", func() error { return ledgerSaysOnce(other) })
		must(t, deliveriesOnce(m.hook.list(), 1))
	})
}

// ledgerSaysOnce is nil when every page on the ledger was sent once, and no alert says the same twice in a row.
func ledgerSaysOnce(p *process) error {
	sent := map[string]int{}
	for _, l := range p.everything("pages.v1") {
		var page struct{ Data event.Page }
		if err := json.Unmarshal(l.Event, &page); err != nil {
			return err
		}
		if page.Data.Stage == event.PageSent {
			sent[page.Data.ID]++
		}
	}
	if len(sent) != 2 {
		return fmt.Errorf("%d pages were sent by the ledger, want 2", len(sent))
	}
	for id, n := range sent {
		if n != 1 {
			return fmt.Errorf("the ledger says %d times that page %s was sent", n, id)
		}
	}
	last := map[string]string{}
	for _, l := range p.everything("alerts.v1") {
		var envelope struct{ Data event.Alert }
		if err := json.Unmarshal(l.Event, &envelope); err != nil {
			return err
		}
		a := &envelope.Data
		if a.Rule == event.RuleCanary {
			continue
		}
		says := fmt.Sprint(a.State, a.Unknown, a.StartsAt)
		if last[a.ID] == says {
			return fmt.Errorf("alert %s says %s twice", a.ID, says)
		}
		last[a.ID] = says
	}
	return nil
}
