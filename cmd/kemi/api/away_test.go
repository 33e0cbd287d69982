package api_test

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/mem"
)

// Who says something while the bus is away is not kept waiting for it.
func TestWhatIsSaidWhileTheBusIsAwayIsRefusedAtOnce(t *testing.T) {
	l := &mem.Leaving{Driver: mem.New()}
	h, _ := dutyOver(t, l)
	l.Leave()
	for path, body := range map[string]string{
		"POST /incidents/abcd1111/acknowledge": `{"by":"jo"}`, "POST /incidents/abcd1111/snooze": `{"by":"jo","for":"1h"}`,
		"POST /silences":  `{"by":"jo","for":"1h","comment":"x","matchers":[{"name":"target","value":"srv"}]}`,
		"POST /overrides": `{"by":"jo","schedule":"network","person":"sun","lasts":"1h"}`,
		"POST /commands":  `{"kind":"accept-shrink","subject":"file"}`,
	} {
		method, path, _ := strings.Cut(path, " ")
		begin := time.Now() // A broker that is away and waited for takes nothing, however long; what is said tells which wait it was.
		code, said := ask(h, method, path, body)
		if took := time.Since(begin); code != 503 || !strings.Contains(said, "the bus is away, try again when it is back: ") || took > 20*time.Second {
			t.Errorf("%s: after %s %d %s", path, took, code, said)
		}
	}
}
