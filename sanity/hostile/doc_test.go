// Package hostile_test attacks the real `loam controller`, each attack from a process of its own: strangers at its port, and a node
// that has proved who it is and lies, hangs, or floods. Meanwhile honest nodes are asked for volumes, and what the attack costs the
// controller is measured: memory, log, and time of processors.
package hostile_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
)

// attackVariable is set to the name of an attack for a process that is nothing else.
const attackVariable = "LOAM_ATTACK"

func TestMain(m *testing.M) {
	if name := os.Getenv(attackVariable); name != "" {
		if err := attack(name, os.Getenv("LOAM_ATTACK_ADDRESS"), certificates{os.Getenv("LOAM_ATTACK_CERTIFICATES")}); err != nil {
			fmt.Fprintln(os.Stderr, "attack:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(hosttest.LeaveNothing(m.Run))
}
