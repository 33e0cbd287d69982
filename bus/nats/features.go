package nats

import (
	"fmt"
	"strconv"
	"strings"
)

// ability is something a server can do from a version on.
type ability struct {
	major, minor int
	what         string
	// without says what happens on a server that lacks it; "" is that it cannot be used.
	without string
}

// abilities are what is needed, and what is used when it is there. Sources: the release notes of nats-server 2.10 (ADR-33,
// ADR-34), 2.11 (ADR-8, pull request 5281) and 2.12 (ADR-50).
var abilities = []ability{
	{2, 10, "metadata of streams", ""},
	{2, 10, "consumers with several filters", ""},
	needsFences,
	needsBatches,
}

var (
	needsFences = ability{
		2, 11, "conditions on another subject (the header " + headerExpectedSubject + ")",
		"the server does not refuse what a former owner of a partition had under way, only its lease does",
	}
	needsBatches = ability{2, 12, "atomic batches", "records of durability power are stored one by one, which is slower"}
)

// version is a server's.
type version struct{ major, minor int }

func parseVersion(text string) (version, error) {
	parts := strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3)
	if len(parts) >= 2 {
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err1 == nil && err2 == nil && major >= 0 && minor >= 0 {
			return version{major, minor}, nil
		}
	}
	return version{}, fmt.Errorf("server version %q is not understood", text)
}

func (v version) has(a ability) bool {
	return v.major > a.major || v.major == a.major && v.minor >= a.minor
}

// judge says what a server of the version lacks, one sentence each; err when it cannot be used.
func judge(text string) (v version, lacks []string, err error) {
	if v, err = parseVersion(text); err != nil {
		return v, nil, err
	}
	var must []string
	var from version
	for _, a := range abilities {
		switch {
		case v.has(a):
		case a.without == "":
			must, from = append(must, a.what), version{a.major, a.minor}
		default:
			lacks = append(lacks, fmt.Sprintf("%s (there from %d.%d on): %s", a.what, a.major, a.minor, a.without))
		}
	}
	if must != nil {
		return v, lacks, fmt.Errorf("server version %s is too old, it lacks %s: they are there from %d.%d on, please upgrade it", text, strings.Join(must, " and "), from.major, from.minor)
	}
	return v, lacks, nil
}
