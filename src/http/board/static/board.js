// The board works without this script; with it, it is quicker by keyboard and says when something changed.
"use strict";
