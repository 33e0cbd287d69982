package snmp

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/internal/conf"
)

// quick makes polls of silent targets short.
const quick = "timeout: 150ms, retries: 1"

// tableOf finds a table of a reading.
func tableOf(t *testing.T, r *event.Reading, name string) *event.Table {
	t.Helper()
	for i := range r.Tables {
		if r.Tables[i].Name == name {
			return &r.Tables[i]
		}
	}
	t.Fatalf("the reading has no table %s: %s, %s", name, r.Status, r.Message)
	return nil
}

func columnOf(t *testing.T, tb *event.Table, name string) *event.Column {
	t.Helper()
	for i := range tb.Columns {
		if tb.Columns[i].Name == name {
			return &tb.Columns[i]
		}
	}
	t.Fatalf("table %s has no column %s", tb.Name, name)
	return nil
}

func labelOf(t *testing.T, tb *event.Table, name string) []string {
	t.Helper()
	for _, ix := range tb.Index {
		if ix.Name == name {
			return ix.Values
		}
	}
	t.Fatalf("table %s has no label %s", tb.Name, name)
	return nil
}

func want(t *testing.T, r *event.Reading, status event.Status, message string) {
	t.Helper()
	if r.Status != status || !strings.Contains(r.Message, message) {
		t.Fatalf("got %s with %q, want %s with …%s…", r.Status, r.Message, status, message)
	}
	if _, err := r.Encode(); err != nil {
		t.Fatal(err)
	}
}

func TestASwitchIsReadWholeInFewPackets(t *testing.T) {
	a := newSwitch(t, 50)
	p := newPoller(t, "")
	for poll := range 3 {
		r := p.Poll(t.Context(), job(a.address(), "interfaces"))
		want(t, r, event.StatusOK, "")
		if r.Values() != 552 {
			t.Fatalf("%d values, want 552", r.Values())
		}
		tb := tableOf(t, r, "interfaces")
		in, oper := columnOf(t, tb, "ifHCInOctets"), columnOf(t, tb, "ifOperStatus")
		for i := range 50 {
			if in.Counters[i] != uint64((i+1)*6)<<33 || oper.Gauges[i] != float64(1+(i+1)%2) {
				t.Fatalf("row %d: ifHCInOctets %d, ifOperStatus %v", i, in.Counters[i], oper.Gauges[i])
			}
			if name := labelOf(t, tb, "ifName")[i]; name != fmt.Sprintf("ge-%d", i+1) {
				t.Fatalf("row %d is called %q", i, name)
			}
		}
		if up := columnOf(t, tableOf(t, r, "system"), "sysUpTime").Gauges[0]; up != 1234.56 {
			t.Fatalf("sysUpTime %v, want 1234.56", up)
		}
		// The first poll reads the labels too and does not know how long the table is.
		if n := len(a.asked()); poll > 0 && n != 3 {
			t.Errorf("poll %d took %d requests, want 3", poll, n)
		}
	}
}

func TestWrongCommunityIsATimeoutThatSaysSo(t *testing.T) {
	a := newSwitch(t, 1)
	p := newPoller(t, quick)
	p.credentials["lab"] = func() Config { c := p.credentials["lab"]; c.Community = conf.NewSecret("wrong"); return c }()
	r := p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusTimeout, "down, filtered, or wrong community")
	if n := len(a.asked()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestAClosedPortIsRefusedAtOnce(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	address := conn.LocalAddr().String()
	conn.Close()
	p := newPoller(t, "timeout: 20s")
	r := p.Poll(t.Context(), job(address, ""))
	want(t, r, event.StatusRefused, "nothing listens")
	if r.Duration > 15*time.Second { // Its own timeout would take 20 s and more.
		t.Errorf("it took %s", r.Duration)
	}
}

func TestTheErrorOfOneTargetIsNotAnothers(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	closed := conn.LocalAddr().String()
	conn.Close()
	a := newSwitch(t, 3)
	p := newPoller(t, "")
	results := make(chan *event.Reading)
	for i := range 40 {
		address := a.address()
		if i%2 == 0 {
			address = closed
		}
		go func() {
			j := job(address, "")
			j.Target = fmt.Sprint(i)
			results <- p.Poll(context.Background(), j)
		}()
	}
	for range 40 {
		r := <-results
		status := event.StatusOK
		if n := r.Target; (n[len(n)-1]-'0')%2 == 0 {
			status = event.StatusRefused
		}
		if r.Status != status {
			t.Errorf("target %s: %s with %q, want %s", r.Target, r.Status, r.Message, status)
		}
	}
}

func TestTooBigIsAskedForInSmallerPiecesAndRemembered(t *testing.T) {
	a := newSwitch(t, 30)
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if len(answer.Variables) > 25 {
			answer.Error, answer.Variables = gosnmp.TooBig, nil
		}
		return answer
	}, nil)
	p := newPoller(t, "")
	r := p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusOK, "")
	if r.Values() != 2+11*30 {
		t.Fatalf("%d values", r.Values())
	}
	first := len(a.asked())
	r = p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusOK, "")
	if second := len(a.asked()); second >= first {
		t.Errorf("the second poll took %d requests, the first %d: it learnt nothing", second, first)
	}
}

func TestTooBigForASingleValueEnds(t *testing.T) {
	a := newSwitch(t, 3)
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		answer.Error, answer.Variables = gosnmp.TooBig, nil
		return answer
	}, nil)
	r := newPoller(t, "").Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusError, "tooBig")
	if n := len(a.asked()); n > 60 {
		t.Errorf("%d requests", n)
	}
}

func TestAColumnInErrorMakesTheReadingPartial(t *testing.T) {
	for _, index := range []bool{true, false} {
		t.Run(fmt.Sprintf("index %v", index), func(t *testing.T) {
			a := newSwitch(t, 5)
			a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
				for i, v := range asked.Variables {
					if strings.HasPrefix(v.Name, "."+ifEntry+"14") {
						answer.Error, answer.Variables = gosnmp.GenErr, asked.Variables
						if index {
							answer.ErrorIndex = uint8(i + 1)
						}
					}
				}
				return answer
			}, nil)
			r := newPoller(t, "").Poll(t.Context(), job(a.address(), ""))
			want(t, r, event.StatusPartial, "ifInErrors: the agent says genErr")
			if r.Values() != 2+10*5 {
				t.Errorf("%d values, want all but one column", r.Values())
			}
		})
	}
}

func TestNothingMayBeRead(t *testing.T) {
	a := newSwitch(t, 5)
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		answer.Error, answer.ErrorIndex, answer.Variables = gosnmp.AuthorizationError, 1, asked.Variables
		return answer
	}, nil)
	want(t, newPoller(t, "").Poll(t.Context(), job(a.address(), "")), event.StatusAuth, "may not read")
}

func TestObjectIdentifiersThatDoNotIncreaseEndAColumn(t *testing.T) {
	a := newSwitch(t, 60)
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		for i := range answer.Variables {
			if answer.Variables[i].Name == "."+ifEntry+"8.40" {
				answer.Variables[i].Name = "." + ifEntry + "8.7"
			}
		}
		return answer
	}, nil)
	r := newPoller(t, "").Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusPartial, "ifOperStatus: object identifiers do not increase: 7 follows 39")
	tb := tableOf(t, r, "interfaces")
	if c := columnOf(t, tb, "ifOperStatus"); len(c.Missing) != 21 || c.Missing[0] != 39 || !tb.Truncated {
		t.Errorf("missing %v, truncated %v", c.Missing, tb.Truncated)
	}
	if c := columnOf(t, tb, "ifHCInOctets"); len(c.Missing) != 0 {
		t.Errorf("another column misses %v", c.Missing)
	}
}

func TestATableThatIsTooLongIsTruncated(t *testing.T) {
	a := newSwitch(t, 200)
	p := newPoller(t, "")
	plan := *p.profiles["interfaces"]
	plan.tables = slices.Clone(plan.tables)
	plan.tables[0].maxRows = 100
	p.profiles["interfaces"] = &plan
	r := p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusPartial, "interfaces has more than 100 rows")
	if tb := tableOf(t, r, "interfaces"); !tb.Truncated || tb.Rows != 100 {
		t.Errorf("%d rows, truncated %v", tb.Rows, tb.Truncated)
	}
}

func TestSilenceInTheMiddleIsPartial(t *testing.T) {
	a := newSwitch(t, 100)
	n := 0
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if n++; n > 2 {
			return nil
		}
		return answer
	}, nil)
	r := newPoller(t, quick).Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusPartial, "no answer to 2 requests")
	if r.Booted.IsZero() {
		t.Error("the time of boot was not taken from what was read")
	}
	if tb := tableOf(t, r, "interfaces"); !tb.Truncated || tb.Rows == 0 || tb.Rows >= 100 {
		t.Errorf("%d rows, truncated %v", tb.Rows, tb.Truncated)
	}
}

func TestRowsOfATableThatWasCutKeepTheirLabels(t *testing.T) {
	a := newSwitch(t, 100)
	p := newPoller(t, quick)
	want(t, p.Poll(t.Context(), job(a.address(), "")), event.StatusOK, "")
	n := 0
	a.drop(ifEntry)
	a.drop(ifXEntry)
	for i := 3; i <= 101; i++ {
		a.addInterface(i)
	}
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if n++; n > 2 {
			return nil
		}
		return answer
	}, nil)
	r := p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusPartial, "no answer")
	tb := tableOf(t, r, "interfaces")
	names, indexes := labelOf(t, tb, "ifName"), labelOf(t, tb, "ifIndex")
	if len(names) != tb.Rows || len(names) < 10 || names[0] != "ge-3" || indexes[0] != "3" || names[9] != "ge-12" {
		t.Errorf("names %v, indexes %v", names, indexes)
	}
	a.set(nil, nil)
	r = p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusOK, "")
	if names := labelOf(t, tableOf(t, r, "interfaces"), "ifName"); len(names) != 99 || names[98] != "ge-101" {
		t.Errorf("names %v", names)
	}
}

func TestIPv6(t *testing.T) {
	conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip("this machine has no IPv6: ", err)
	}
	a := serveAgent(t, conn)
	a.put("1.3.6.1.2.1.1.5.0", gosnmp.OctetString, "six")
	p := newPoller(t, "")
	r := p.Poll(t.Context(), job(a.address(), "system"))
	want(t, r, event.StatusOK, "")
	if got := columnOf(t, tableOf(t, r, "system"), "sysName").Texts[0]; got != "six" {
		t.Errorf("its name is %q", got)
	}
	closed, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	address := closed.LocalAddr().String()
	closed.Close()
	want(t, p.Poll(t.Context(), job(address, "system")), event.StatusRefused, "")
}

func TestAPollAfterCloseOpensTheSocketAgain(t *testing.T) {
	a := newSwitch(t, 1)
	p := newPoller(t, "")
	for range 2 {
		want(t, p.Poll(t.Context(), job(a.address(), "")), event.StatusOK, "")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADeviceThatIsSilentToLargeRequestsIsHeard(t *testing.T) {
	a := newSwitch(t, 50)
	var silent atomic.Int64
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if len(answer.Variables) > 70 {
			silent.Add(1)
			return nil
		}
		return answer
	}, nil)
	p := newPoller(t, quick)
	for poll := range 3 {
		r := p.Poll(t.Context(), job(a.address(), ""))
		want(t, r, event.StatusOK, "")
		if n := silent.Swap(0); poll == 2 && n > 0 {
			t.Errorf("%d requests of the third poll were too large: it learnt nothing", n)
		}
	}
}

func TestHolesInColumnsAreMissing(t *testing.T) {
	a := newSwitch(t, 20)
	a.drop(ifXEntry + "6.4")  // of the first column
	a.drop(ifEntry + "8.20")  // of the last, at the end
	a.drop(ifXEntry + "18")   // a label altogether
	a.drop(ifXEntry + "15")   // a column altogether
	a.drop(ifXEntry + "1.10") // a name: ifDescr is taken
	a.put(ifXEntry+"1.11", gosnmp.OctetString, "")
	a.drop(ifEntry + "2.11") // the name and the description: the index is taken
	a.put(ifXEntry+"1.13", gosnmp.OctetString, "ge-12")
	r := newPoller(t, "").Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusOK, "")
	tb := tableOf(t, r, "interfaces")
	if tb.Rows != 20 || len(tb.Columns) != 10 {
		t.Fatalf("%d rows, %d columns", tb.Rows, len(tb.Columns))
	}
	if c := columnOf(t, tb, "ifHCInOctets"); !slices.Equal(c.Missing, []uint32{3}) || c.Counters[4] != 30<<33 {
		t.Errorf("missing %v, counters %v", c.Missing, c.Counters)
	}
	if c := columnOf(t, tb, "ifOperStatus"); !slices.Equal(c.Missing, []uint32{19}) {
		t.Errorf("missing %v", c.Missing)
	}
	names, indexes := labelOf(t, tb, "ifName"), labelOf(t, tb, "ifIndex")
	if names[9] != "Port 10" || names[10] != "11" || names[11] != "ge-12" || names[12] != "ge-12" || indexes[11] == indexes[12] {
		t.Errorf("names %v, indexes %v", names, indexes)
	}
	if !slices.IsSortedFunc(indexes, func(a, b string) int { return len(a) - len(b) }) {
		t.Errorf("rows out of order: %v", indexes)
	}
}

func TestLabelsAreReadAgainWhenRowsChange(t *testing.T) {
	a := newSwitch(t, 10)
	p := newPoller(t, "")
	p.Poll(t.Context(), job(a.address(), ""))
	a.addInterface(11)
	a.put(ifXEntry+"1.3", gosnmp.OctetString, "renamed")
	r := p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusOK, "")
	names := labelOf(t, tableOf(t, r, "interfaces"), "ifName")
	if len(names) != 11 || names[10] != "ge-11" || names[2] != "renamed" {
		t.Errorf("names %v", names)
	}
	a.put(ifXEntry+"1.3", gosnmp.OctetString, "renamed again")
	j := job(a.address(), "")
	j.Cause = event.CauseManual
	if names := labelOf(t, tableOf(t, p.Poll(t.Context(), j), "interfaces"), "ifName"); names[2] != "renamed again" {
		t.Errorf("a manual poll has names %v", names)
	}
}

func TestLabelsAreReadAgainAfterARestart(t *testing.T) {
	a := newSwitch(t, 10)
	p := newPoller(t, "")
	first := p.Poll(t.Context(), job(a.address(), ""))
	a.put("1.3.6.1.2.1.1.3.0", gosnmp.TimeTicks, uint32(100))
	a.put(ifXEntry+"1.3", gosnmp.OctetString, "another card")
	r := p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusOK, "")
	if names := labelOf(t, tableOf(t, r, "interfaces"), "ifName"); names[2] != "another card" || !r.Booted.After(first.Booted) {
		t.Errorf("names %v, booted at %s and then at %s", names, first.Booted, r.Booted)
	}
}

func TestADeviceWithNothingOfTheProfileIsNoSuch(t *testing.T) {
	a := newAgent(t)
	a.put("1.3.6.1.4.1.99999.1.0", gosnmp.Integer, 1)
	r := newPoller(t, "").Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusNoSuch, "interfaces")
	if !r.Status.Up() {
		t.Error("it is not up")
	}
}

func TestEmptyAnswersEnd(t *testing.T) {
	a := newSwitch(t, 5)
	a.set(func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket { answer.Variables = nil; return answer }, nil)
	want(t, newPoller(t, "").Poll(t.Context(), job(a.address(), "")), event.StatusError, "the agent's answer is empty")
}

func TestValuesOfTheWrongKindAreMissing(t *testing.T) {
	a := newSwitch(t, 4)
	a.put(ifEntry+"14.2", gosnmp.OctetString, "none")
	r := newPoller(t, "").Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusPartial, "ifInErrors: 1 values are no counter")
	if c := columnOf(t, tableOf(t, r, "interfaces"), "ifInErrors"); !slices.Equal(c.Missing, []uint32{1}) {
		t.Errorf("missing %v", c.Missing)
	}
}

func TestAProbeIsOneSmallRequest(t *testing.T) {
	a := newSwitch(t, 5)
	a.set(func(_, _ *gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return nil }, nil)
	p := newPoller(t, quick)
	r := p.Poll(poller.WithProbing(t.Context()), job(a.address(), ""))
	want(t, r, event.StatusTimeout, "no answer to 1 request in")
	if n := len(a.asked()); n != 1 {
		t.Errorf("%d requests", n)
	}
	a.set(nil, nil)
	r = p.Poll(poller.WithProbing(t.Context()), job(a.address(), ""))
	want(t, r, event.StatusOK, "")
	if r.Values() != 2+55 {
		t.Errorf("%d values: the poll did not go on after the probe", r.Values())
	}
}

func TestThePollEndsAtItsDeadline(t *testing.T) {
	a := newSwitch(t, 5)
	a.set(func(_, _ *gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return nil }, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := newPoller(t, "timeout: 20s").Poll(ctx, job(a.address(), ""))
	want(t, r, event.StatusTimeout, "deadline")
	if r.Duration > 15*time.Second { // Its own timeout would take 20 s and more.
		t.Errorf("it took %s", r.Duration)
	}
}

func TestSettingsThatDoNotFitAreErrors(t *testing.T) {
	p := newPoller(t, quick)
	for name, c := range map[string]struct {
		change func(*event.Job)
		want   string
	}{
		"no credential":      {func(j *event.Job) { j.Credential = "" }, "names no credential"},
		"unknown credential": {func(j *event.Job) { j.Credential = "other" }, `no SNMP credential "other"`},
		"unknown profile":    {func(j *event.Job) { j.Profile = "interface" }, `did you mean "interfaces"?`},
		"bad settings":       {func(j *event.Job) { j.Spec = []byte("[]") }, "settings"},
		"bad address":        {func(j *event.Job) { j.Address = "http://x/" }, "address"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job("127.0.0.1:1", "")
			c.change(j)
			want(t, p.Poll(t.Context(), j), event.StatusError, c.want)
		})
	}
}
