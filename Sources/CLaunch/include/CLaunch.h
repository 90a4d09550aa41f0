// What the program `catena` does before anything else: see launch.c. There is nothing to call.
#pragma once
