package snmp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gosnmp/gosnmp"

	"kemi.dev/kemi/bus/event"
)

// Text is for people: a device cannot make labels and values of any length out of it.
func TestLongTextIsCutAndSaid(t *testing.T) {
	a := newSwitch(t, 4)
	a.put(ifXEntry+"18.2", gosnmp.OctetString, strings.Repeat("é", maxText)) // Not cut in the middle of a letter.
	a.put(ifXEntry+"18.3", gosnmp.OctetString, "short"+strings.Repeat("\x00", 2*maxText))
	a.put(ifXEntry+"18.4", gosnmp.OctetString, strings.Repeat("\xff", 2*maxText))
	a.put(ifEntry+"14.1", gosnmp.OctetString, strings.Repeat("1", 2*maxText))
	r := newPoller(t, "").Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusPartial, "interfaces ifAlias: 2 values were cut after 1024 octets")
	want(t, r, event.StatusPartial, "ifInErrors: 1 values are no counter")
	got := labelOf(t, tableOf(t, r, "interfaces"), "ifAlias")
	if got[1] != strings.Repeat("é", maxText/2) || got[2] != "short" || len(got[3]) != 3*maxText-1 {
		t.Errorf("labels of %d, %d and %d octets", len(got[1]), len(got[2]), len(got[3]))
	}
}

// A device that has an answer to everything ends with what one poll may bring.
func TestAPollReadsNoMoreThanItMay(t *testing.T) {
	a := newAgent(t)
	for i := range 2 * maxPoll / 30000 {
		a.put(fmt.Sprintf("%s18.%d", ifXEntry, i+1), gosnmp.OctetString, strings.Repeat("x", 30000))
	}
	a.set(func(_, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		answer.Variables = answer.Variables[:1]
		return answer
	}, nil)
	p := newPoller(t, "")
	own := plan{name: "long", tables: []tablePlan{{
		name: "long", maxRows: 10000, labels: []labelSpec{{name: "index"}},
		columns: []columnSpec{{name: "text", oid: mustOID(ifXEntry + "18"), kind: event.Text}},
	}}}
	p.profiles["interfaces"] = &own
	r := p.Poll(t.Context(), job(a.address(), ""))
	want(t, r, event.StatusPartial, "the target's answers come to more than 8 MiB")
	if tb := tableOf(t, r, "long"); !tb.Truncated || tb.Rows < maxPoll/30100-1 || tb.Rows > maxPoll/30000+1 {
		t.Errorf("%d rows, truncated %v", tb.Rows, tb.Truncated)
	}
}
