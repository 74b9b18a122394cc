#include "../sdk.h"
