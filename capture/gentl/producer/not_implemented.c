/* The rest of GenTL 1.6: there, so that a consumer finds the symbol, and saying that it does
 * nothing, as the standard wants it. The arguments do not matter to that. */
#include "rig_virtual.h"

#define NOT_IMPLEMENTED(name)                                             \
  GC_API name(void);                                                      \
  GC_API name(void) {                                                     \
    return fail(GC_ERR_NOT_IMPLEMENTED, #name " is not implemented here"); \
  }

NOT_IMPLEMENTED(DSGetNumBufferParts)
NOT_IMPLEMENTED(DSGetBufferPartInfo)
NOT_IMPLEMENTED(DSAnnounceCompositeBuffer)
NOT_IMPLEMENTED(DSGetBufferInfoStacked)
NOT_IMPLEMENTED(DSGetBufferPartInfoStacked)
NOT_IMPLEMENTED(DSGetNumFlows)
NOT_IMPLEMENTED(DSGetFlowInfo)
NOT_IMPLEMENTED(DSGetNumBufferSegments)
NOT_IMPLEMENTED(DSGetBufferSegmentInfo)
