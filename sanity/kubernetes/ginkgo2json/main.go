// Command ginkgo2json prints reports of ginkgo as go test -json prints its tests, so that one summary counts both. A
// spec that was not selected is none; one that skipped itself has its reason. A report in which nothing ran has failed,
// unless FOCUS chooses the specs.
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
	failed := false
	ended := map[string]int{} // specs by action, and suites that failed
	for _, file := range os.Args[1:] {
		if err := print(file, ended); err != nil {
			fmt.Fprintln(os.Stderr, "ginkgo2json:", err)
			failed = true
		}
	}
	say(event{Action: "output", Package: suite, Output: fmt.Sprintf("count: External.Storage: %d passed, %d failed, %d skipped\n", ended["pass"], ended["fail"], ended["skip"])})
	end := event{Action: "pass", Package: suite}
	if failed || ended["fail"]+ended["suite"] > 0 || len(ended) == 0 {
		end.Action = "fail"
	}
	say(end)
}

func say(e event) {
	line, _ := json.Marshal(e) // texts and a number
	fmt.Println(string(line))
}

// print prints one report, and counts how its specs ended.
func print(file string, ended map[string]int) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var reports []types.Report
	if err := json.Unmarshal(text, &reports); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	ran := 0
	for _, report := range reports {
		if !report.SuiteSucceeded {
			ended["suite"]++ // also where no spec came to be run
		}
		for _, reason := range report.SpecialSuiteFailureReasons {
			say(event{Action: "output", Package: suite, Output: reason + "\n"})
		}
		for _, spec := range report.SpecReports {
			if spec.LeafNodeType != types.NodeTypeIt || spec.State.Is(types.SpecStatePending) ||
				(spec.State.Is(types.SpecStateSkipped) && spec.Failure.Message == "") {
				continue
			}
			name := strings.TrimPrefix(spec.FullText(), "External Storage ")
			say(event{Action: "run", Package: suite, Test: name})
			e := event{Action: "pass", Package: suite, Test: name, Elapsed: spec.RunTime.Seconds()}
			if spec.State.Is(types.SpecStatePassed) && spec.NumAttempts > 1 {
				say(event{Action: "output", Package: suite, Test: name, Output: fmt.Sprintf("count: External.Storage: passed at attempt %d: %s\n", spec.NumAttempts, name)})
			}
			switch {
			case spec.State.Is(types.SpecStateSkipped):
				e.Action = "skip"
				say(event{Action: "output", Package: suite, Test: name, Output: "    suite.go:1: " + oneLine(spec.Failure.Message) + "\n"})
			case !spec.State.Is(types.SpecStatePassed):
				e.Action = "fail"
				say(event{Action: "output", Package: suite, Test: name, Output: fmt.Sprintf("%s\n%s\n%s\n", spec.Failure.Location, spec.Failure.Message, last(spec.CapturedGinkgoWriterOutput, 6000))})
			}
			ran++
			ended[e.Action]++
			say(e)
		}
	}
	fmt.Println() // ginkgo's own output may have no end of line
	if ran == 0 && os.Getenv("FOCUS") == "" {
		return fmt.Errorf("%s: nothing ran", file)
	}
	return nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func last(text string, most int) string { return text[max(0, len(text)-most):] }
