// Command ginkgo2json prints reports of ginkgo as go test -json prints its tests, so that one summary counts both. A
// spec that was not selected is none; one that skipped itself has its reason.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/onsi/ginkgo/v2/types"
)

const suite = "kubernetes/External.Storage"

// event is a line of go test -json.
type event struct {
	Action, Package string
	Test            string  `json:",omitempty"`
	Output          string  `json:",omitempty"`
	Elapsed         float64 `json:",omitempty"`
}

func main() {
	failed, ran := false, 0
	for _, file := range os.Args[1:] {
		n, ok, err := print(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "ginkgo2json:", err)
		}
		failed = failed || !ok || err != nil
		ran += n
	}
	end := event{Action: "pass", Package: suite}
	if failed || ran == 0 {
		end.Action = "fail"
	}
	say(end)
}

func say(e event) {
	line, _ := json.Marshal(e) // texts and a number
	fmt.Println(string(line))
}

// print prints one report, and returns how many specs ran in it and whether none failed.
func print(file string) (ran int, ok bool, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false, err
	}
	var reports []types.Report
	if err := json.Unmarshal(text, &reports); err != nil {
		return 0, false, fmt.Errorf("%s: %w", file, err)
	}
	ok = true
	for _, report := range reports {
		for _, reason := range report.SpecialSuiteFailureReasons {
			say(event{Action: "output", Package: suite, Output: reason + "\n"})
		}
		for _, spec := range report.SpecReports {
			if spec.LeafNodeType != types.NodeTypeIt || spec.State.Is(types.SpecStatePending) ||
				(spec.State.Is(types.SpecStateSkipped) && spec.Failure.Message == "") {
				continue
			}
			ran++
			name := strings.TrimPrefix(spec.FullText(), "External Storage ")
			say(event{Action: "run", Package: suite, Test: name})
			e := event{Action: "pass", Package: suite, Test: name, Elapsed: spec.RunTime.Seconds()}
			switch {
			case spec.State.Is(types.SpecStateSkipped):
				e.Action = "skip"
				say(event{Action: "output", Package: suite, Test: name, Output: "    suite.go:1: " + oneLine(spec.Failure.Message) + "\n"})
			case !spec.State.Is(types.SpecStatePassed):
				e.Action, ok = "fail", false
				say(event{Action: "output", Package: suite, Test: name, Output: fmt.Sprintf("%s\n%s\n%s\n", spec.Failure.Location, spec.Failure.Message, last(spec.CapturedGinkgoWriterOutput, 6000))})
			}
			say(e)
		}
	}
	fmt.Println() // ginkgo's own output may have no end of line
	return ran, ok, nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func last(text string, most int) string { return text[max(0, len(text)-most):] }
